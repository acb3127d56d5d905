"""A chatbot's demo gives exactly what it has, whoever asks and however; a killed chat takes nothing of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of
from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_PAGE: Final = "https://shop.example"
_QUESTION: Final = {"question": "How long does the warranty of the kettle last?"}
_LEASE: Final = 4.0
_SETTINGS: Final = {
    "HOLD_LEASE": f"{_LEASE}s",
    "HOLD_SWEEP_INTERVAL": "500ms",
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
    "VISITORS_PER_ADDRESS": "100000/m",
    "QUESTIONS_PER_ADDRESS": "100000/m",
}


@pytest.fixture(scope="module")
def replicas(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Product, tuple[str, str]]]:
    """A product with two chats behind one address, and the addresses of its two gateways."""
    folder = tmp_path_factory.mktemp("demo")
    with started_test_product(
        folder, breakable_servers, redis_number=5, provider=stub_provider_process, settings=_SETTINGS
    ) as product:
        product.running.add_replica("chat", shared=True)
        yield product, (product.url, product.running.add_replica("gateway").url)


@pytest.fixture
async def owner(replicas: tuple[Product, tuple[str, str]], stub_provider: StubProviderHandle) -> AsyncIterator[User]:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=20, rate=100))
    product, _ = replicas
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        yield user


async def chatbot_of(owner: User, **fields: Any) -> str:
    """The publishable id of a chatbot that answers from all documents of the tenant."""
    collections = (await owner.http.get("/v1/collections")).json()["items"]
    body = {"name": "Shop", "origins": [_PAGE], "collections": [one["id"] for one in collections], **fields}
    made = await owner.http.post("/v1/chatbots", json=body)
    assert made.status_code == 201, made.text
    published = await owner.http.post(f"/v1/chatbots/{made.json()['id']}/publish")
    assert published.status_code == 201, published.text
    return str(made.json()["publishable_id"])


class Page:
    """A page that shows a chatbot, as browsers behind `address` see it through one of the gateways."""

    def __init__(self, http: httpx2.AsyncClient, chatbot: str, address: str, origin: str = _PAGE) -> None:
        self.http = http
        self.path = f"/v1/public/chatbots/{chatbot}"
        self.headers = {"Origin": origin, "X-Forwarded-For": address}
        self.was_busy = False

    async def visitor(self) -> str:
        """The token of somebody with no cookie."""
        made = await self.http.post(f"{self.path}/visitors", headers=self.headers)
        assert made.status_code == 201, made.text
        return str(made.json()["visitor_token"])

    async def ask_once(self, token: str) -> httpx2.Response:
        headers = self.headers | {"Authorization": f"Bearer {token}"}
        return await self.http.post(f"{self.path}/query", json=_QUESTION, headers=headers)

    async def ask(self, token: str) -> httpx2.Response:
        """Ask, again only when a busy machine says to come back."""
        while (answer := await self.ask_once(token)).status_code == 503:
            self.was_busy = True
        return answer


async def at_once(asks: list[tuple[Page, str]], most: int) -> list[httpx2.Response]:
    """What these are answered, who all ask at once; no more than `most` of them get an answer, and these do."""
    answers = await asyncio.gather(*(page.ask(token) for page, token in asks))
    while len(given(answers)) < most and any(page.was_busy for page, _ in asks):
        page, token = asks[0]  # a hold whose asker was told to come back lasts until its lease has ended
        answers.append(await page.ask(token))
    assert len(given(answers)) == most
    return answers


def given(answers: list[httpx2.Response]) -> list[httpx2.Response]:
    return [answer for answer in answers if answer.status_code == 200]


def told(answers: list[httpx2.Response]) -> Counter[str]:
    """How often each answer was given, refusals by their codes and layers."""
    bodies = [(answer.status_code, answer.json()) for answer in answers]
    return Counter("answer" if status == 200 else f"{body['code']} {body.get('layer')}" for status, body in bodies)


async def test_fifty_at_once_with_ten_left_get_exactly_ten(
    replicas: tuple[Product, tuple[str, str]], owner: User, stub_provider: StubProviderHandle
) -> None:
    product, urls = replicas
    chatbot = await chatbot_of(owner)
    async with (
        httpx2.AsyncClient(base_url=urls[0], trust_env=False, timeout=60) as one,
        httpx2.AsyncClient(base_url=urls[1], trust_env=False, timeout=60) as other,
    ):
        pages = [Page(http, chatbot, "203.0.113.7") for http in (one, other)]
        tokens = [await pages[number % 2].visitor() for number in range(10)]
        answers = await at_once([(pages[number % 2], tokens[number // 5]) for number in range(50)], 10)
        assert told(answers) == {"answer": 10, "demo_limit_reached address": len(answers) - 10}
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert {(answer.json()["limit"], answer.json()["unit"]) for answer in refused} == {(10, "messages")}

        cleared = [await page.visitor() for page in pages]
        again = await asyncio.gather(*(page.ask(token) for page, token in zip(pages, cleared, strict=True)))
        assert told(again) == {"demo_limit_reached address": 2}
        foreign = Page(one, chatbot, "198.51.100.4", "https://thief.example")
        assert told([await foreign.ask(tokens[0])]) == {"origin_not_allowed None": 1}
        elsewhere = Page(other, chatbot, "2001:db8::1")
        token = await elsewhere.visitor()
        more = await at_once([(elsewhere, token)] * 15, 10)
        assert {answer.json()["code"] for answer in more if answer.status_code != 200} == {"demo_limit_reached"}

    async def books_agree() -> None:
        booked, counts = await product.booked(owner.tenant_id), stub_provider.counts()
        calls = Counter(call.endpoint for call in stub_provider.calls())
        assert booked["chats"] == calls["chat"] == 20
        assert calls["embeddings"] == 21, "what is refused is not embedded; the document was"
        for kind in ("prompt", "completion", "embedding"):
            assert booked[f"{kind}_tokens"] == getattr(counts, f"{kind}_tokens")
        (used,) = (await owner.usage())["by_chatbot"]
        assert (used["messages"], used["tokens"]["held"]) == (20, 0)
        async with product.database() as admin:
            spent = (
                "SELECT sum(input_tokens + output_tokens + embedding_tokens) FROM usage.ledger WHERE chatbot_id = $1"
            )
            assert used["tokens"]["used"] == await admin.fetchval(spent, used["chatbot_id"])

    await eventually(books_agree, 60)
    async with product.database() as admin:
        owners = await admin.fetch("SELECT DISTINCT owner FROM chat.turns WHERE tenant_id = $1", owner.tenant_id)
        kept = await admin.fetchval(
            "SELECT string_agg(subject_id, ' ') FROM usage.budgets WHERE tenant_id = $1", owner.tenant_id
        )
    assert len(owners) == 2, "both chats answered"
    assert "203.0.113.7" not in kept and "2001:db8" not in kept


async def test_a_killed_chat_gives_its_holds_back_within_the_lease(
    replicas: tuple[Product, tuple[str, str]], owner: User
) -> None:
    product, _ = replicas
    chatbot = await chatbot_of(owner, demo_messages=1)
    chats = [part for name, part in parts_of(product).items() if name.startswith("chat")]
    async with (
        httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as http,
        product.database() as admin,
    ):
        page = Page(http, chatbot, "203.0.113.8")
        token = await page.visitor()

        async def is_held(messages: int) -> bool:
            query = (
                "SELECT held FROM usage.budgets WHERE tenant_id = $1 AND subject_type = 'visitor' AND unit = 'messages'"
            )
            return bool(await admin.fetchval(query, owner.tenant_id) == messages)

        async with product.database() as blocker, blocker.transaction():
            await blocker.execute("LOCK TABLE chat.turns IN EXCLUSIVE MODE")  # what is held gets no turn
            asked = [asyncio.create_task(page.ask_once(token))]

            async def is_holding() -> bool:
                if asked[-1].done():  # a busy machine told it to come back
                    asked.append(asyncio.create_task(page.ask_once(token)))
                return await is_held(1)

            await eventually(is_holding, 30)
            refused = await page.ask_once(token)
            assert refused.json()["code"] == "demo_limit_reached"
            assert int(refused.headers["Retry-After"]) <= 5
            for chat in chats:
                chat.kill()
            killed = time.monotonic()
        assert (await asked[-1]).status_code >= 500
        await eventually(lambda: is_held(0), 30)
        print(f"\ngiven back {time.monotonic() - killed:.1f} s after the kill, with a lease of {_LEASE:.0f} s")
        for chat in chats:
            chat.start()

        async def is_answered() -> None:
            assert (await page.ask_once(token)).status_code == 200

        await eventually(is_answered, 30)
        assert (await page.ask(token)).json()["code"] == "demo_limit_reached"
