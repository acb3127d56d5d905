"""R11: connections cut at each token, over two gateways and two chats: no gap, no repeat, paid once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import httpx2
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, answer_text, frames_until_end, small_pdf, started_test_product
from docuchat_testkit.provider_answers import filler
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_TOKENS: Final = 12
_RATE: Final = 20  # tokens a second: each is a frame
_QUESTION: Final = "How long does the warranty of the kettle last?"
_AT_ONCE: Final = 6


@pytest.fixture(scope="module")
def replicas(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Product, tuple[str, str]]]:
    """A product with two chats behind one address, and the addresses of its two gateways."""
    folder = tmp_path_factory.mktemp("cut")
    with started_test_product(folder, breakable_servers, redis_number=4, provider=stub_provider_process) as product:
        product.running.add_replica("chat", shared=True)
        yield product, (product.url, product.running.add_replica("gateway").url)


async def read_and_cut_socket(user: User, count: int, question: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask over a socket and cut it after so many deltas."""
    seen: list[dict[str, Any]] = []
    async with user.socket() as socket:
        await socket.send(json.dumps(question))
        while not is_far_enough(seen, count):
            seen.append(json.loads(await socket.recv()))
        socket.transport.abort()
    return seen


async def read_and_cut_events(user: User, count: int, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask for server-sent events and hang up after so many deltas."""
    seen: list[dict[str, Any]] = []
    async with (
        httpx2.AsyncClient(base_url=user.gateway_url, headers=user.headers, trust_env=False, timeout=60) as http,
        http.stream("POST", path, json=body | {"stream": True}) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if is_far_enough(seen, count):
                    break
    return seen


def is_far_enough(seen: list[dict[str, Any]], count: int) -> bool:
    return len(seen) >= 2 and (len(seen) - 2 == count or seen[-1]["type"] in {"end", "error"})


@asynccontextmanager
async def asker(product: Product) -> AsyncIterator[User]:
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        yield user


async def test_an_answer_of_any_kind_cut_at_each_token_is_read_on_whole_and_paid_once(
    replicas: tuple[Product, tuple[str, str]], stub_provider: StubProviderHandle
) -> None:
    product, urls = replicas
    whole = filler(_TOKENS).text
    stub_provider.control(Rule(endpoint="chat", exact_tokens=_TOKENS, rate=_RATE))
    async with asker(product) as user:
        first = await user.ask(_QUESTION)
        chat_id, answer, question = (first[0][name] for name in ("chat_id", "message_id", "user_message_id"))
        ways: dict[str, Callable[[User, int], Any]] = {
            "asked": lambda here, k: read_and_cut_socket(here, k, {"message": _QUESTION, "session_id": f"alone {k}"}),
            "branched": lambda here, k: read_and_cut_socket(here, k, {"message": _QUESTION, "parent_id": answer}),
            "edited": lambda here, k: read_and_cut_events(
                here, k, f"/v1/messages/{question}/edit", {"message": f"{_QUESTION} {k}"}
            ),
            "regenerated": lambda here, k: read_and_cut_events(here, k, f"/v1/messages/{answer}/regenerate", {}),
        }

        async def cut(way: str, at: int, number: int) -> str:
            here, there = (replace(user, gateway_url=urls[(number + other) % 2]) for other in (0, 1))
            seen = await ways[way](here, at)
            assert [frame["type"] for frame in seen] == ["start", "sources", *["delta"] * at], (way, at, seen[-1])
            async with there.socket() as socket:
                await socket.send(json.dumps({"resume": seen[0]["turn_id"], "after": at}))
                rest = await frames_until_end(socket)
            deltas = [frame for frame in rest if frame["type"] == "delta"]
            assert [frame["seq"] for frame in deltas] == list(range(at + 1, _TOKENS + 1)), (way, at)
            assert rest[-1]["type"] == "end" and rest[-1]["usage"]["output_tokens"] == _TOKENS, (way, at, rest[-1])
            assert answer_text(seen + deltas) == whole, (way, at)
            return str(seen[0]["turn_id"])

        cuts = [(way, at) for at in range(_TOKENS + 1) for way in ways]
        turns: list[str] = []
        for start in range(0, len(cuts), _AT_ONCE):
            some = enumerate(cuts[start : start + _AT_ONCE], start)
            turns += await asyncio.gather(*(cut(way, at, number) for number, (way, at) in some))
        assert len(set(turns)) == len(cuts)

        async def is_paid_once() -> None:
            calls = [call for call in stub_provider.calls() if call.endpoint == "chat"]
            booked, usage = await product.booked(user.tenant_id), await user.usage()
            assert len(calls) == booked["chats"] == len(cuts) + 1
            assert booked["completion_tokens"] == len(calls) * _TOKENS == stub_provider.counts().completion_tokens
            assert booked["prompt_tokens"] == stub_provider.counts().prompt_tokens
            assert usage["quota"]["tokens"]["held"] == 0

        await eventually(is_paid_once, 60)
        async with product.database() as admin:
            owners = await admin.fetch("SELECT DISTINCT owner FROM chat.turns WHERE tenant_id = $1", user.tenant_id)
        assert len(owners) == 2, "both chats answered"

        every = (await user.http.get(f"/v1/chats/{chat_id}?branches=all&limit=100")).json()
        answers = [message for message in every["messages"] if message["role"] == "assistant"]
        assert [message["content"] for message in answers] == [whole] * (3 * (_TOKENS + 1) + 1)
        again = next(message for message in answers if message["id"] == answer)
        assert len(again["siblings"]) == _TOKENS + 2 and again["parent_id"] == question
