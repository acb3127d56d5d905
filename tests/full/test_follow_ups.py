"""Follow-up questions over the whole product: rewritten once, whoever hangs up, and booked as the provider counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

_WHOLE, _MEANT = (
    "How long does the warranty of the kettle last?",
    "How long does the warranty of the kettle last abroad?",
)
_CHATS = 12


@pytest.fixture(scope="module")
def rewriting_product(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    folder, settings = tmp_path_factory.mktemp("follow-ups"), {"QUESTION_REWRITING": "true"}
    with started_test_product(
        folder, breakable_servers, redis_number=5, provider=stub_provider_process, settings=settings
    ) as product:
        yield product


async def ask(user: User, number: int, message: str, key: str, leave_after: int) -> list[dict[str, Any]]:
    """Ask in a chat of its own and hang up after so many deltas."""
    seen: list[dict[str, Any]] = []
    body = {"message": message, "session_id": f"chat {number}", "stream": True}
    async with user.http.stream("POST", "/v1/chat", json=body, headers={"Idempotency-Key": key}) as response:
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if len(seen) - 2 >= leave_after:
                    break
    return seen


async def test_a_follow_up_is_rewritten_once_and_booked_whoever_hangs_up(
    rewriting_product: Product, stub_provider: StubProviderHandle
) -> None:
    product = rewriting_product
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        stub_provider.control(
            Rule(endpoint="chat", contains="stalls?\n</question>", exact_tokens=9, stall_after=3),
            Rule(endpoint="chat", contains="cut?\n</question>", exact_tokens=9, cut_after=3),
            Rule(endpoint="chat", contains="refused?\n</question>", status=500, times=3),
            Rule(endpoint="chat", contains="</question>", text=_MEANT),
            Rule(endpoint="chat", exact_tokens=20, rate=40),
        )
        kinds = ("abroad", "stalls", "cut", "refused")

        async def talk(number: int) -> None:
            await ask(user, number, _WHOLE, f"first-{number}", 99)
            question = f"And {kinds[number % 4]}?"
            await ask(user, number, question, f"second-{number}", number)

            async def is_told() -> None:
                end = (await ask(user, number, question, f"second-{number}", 99))[-1]
                assert end["type"] == "end"
                assert end["searched_as"] == (_MEANT if number % 4 == 0 else f"{_WHOLE} {question}")

            await eventually(is_told, 30)

        await asyncio.gather(*map(talk, range(_CHATS)))

        async def books_agree() -> None:
            served, booked = stub_provider.counts(), await product.booked(user.tenant_id)
            calls = [call for call in stub_provider.calls() if call.endpoint == "chat" and call.outcome != "rejected"]
            assert len(calls) == booked["chats"] == 3 * _CHATS - _CHATS // 4
            assert booked["prompt_tokens"] == served.prompt_tokens
            assert booked["completion_tokens"] == served.completion_tokens
            assert booked["embedding_tokens"] == served.embedding_tokens
            assert (await user.usage())["quota"]["tokens"]["held"] == 0

        await eventually(books_agree, 45)
