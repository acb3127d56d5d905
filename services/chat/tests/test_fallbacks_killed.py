"""Two providers as processes, one killed under load: every question is answered or told, the books name both."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from docuchat_chat.adapters.openai_model import OpenAIModel
from docuchat_chat.answers.ports import ServedModel
from docuchat_chat.turns.domain import Question
from docuchat_common.ids import TenantId
from docuchat_models.openai_chat import OpenAIChat
from docuchat_testkit.eventually import eventually
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.provider_rules import Rule

MODEL = "gpt-4o-mini"
FIRST, SECOND = f"first/{MODEL}", f"second/{MODEL}"
OF_EACH = 12
RULES = (
    Rule(endpoint="chat", contains="unheard", header_delay=120),
    Rule(endpoint="chat", contains="silent", stall_after=0),
    Rule(endpoint="chat", contains="midst", exact_tokens=40, stall_after=9),
)


@pytest.fixture
def stubs() -> Iterator[dict[str, StubProviderHandle]]:
    """Two providers, each a process of its own."""
    with running_stub_provider() as first, running_stub_provider() as second:
        first.control(*RULES)
        yield {"first": first, "second": second}


class Providers:
    """The models of both."""

    def __init__(self, clients: dict[str, OpenAIModel]) -> None:
        self._clients = clients

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        provider, _, name = model.partition("/")
        return ServedModel(model, provider, name, self._clients[provider])


@pytest_asyncio.fixture
async def beside(world: Any, stubs: dict[str, StubProviderHandle]) -> AsyncIterator[Any]:
    """A process that asks the first, and the second when that is down."""
    async with AsyncExitStack() as stack:
        clients = {}
        for name, stub in stubs.items():
            opened = OpenAIChat.open(api_key="sk-test", base_url=stub.base_url, connect_seconds=5, read_seconds=65)
            clients[name] = OpenAIModel(await stack.enter_async_context(opened))
        world.models = Providers(clients)
        world.with_policy(default_model=FIRST, fallback_model=SECOND)
        yield world


async def ask(world: Any, kind: str, number: int) -> list[dict[str, Any]]:
    answering = await world.asking.ask(world.caller, Question(f"How long is the warranty? {kind} {number}"))
    events: list[dict[str, Any]] = await world.collect(answering.events(-1))
    return events


async def booked(world: Any) -> dict[str, tuple[int, int, int]]:
    """Calls, input and output tokens, by provider."""
    totals: dict[str, tuple[int, int, int]] = {}
    for entry in await world.chat_usage():
        assert entry.model == MODEL
        calls, asked, answered = totals.get(entry.provider, (0, 0, 0))
        totals[entry.provider] = calls + 1, asked + entry.input_tokens, answered + entry.output_tokens
    return totals


def served(stub: StubProviderHandle) -> tuple[int, int, int]:
    counts = stub.counts()
    calls = [call for call in stub.calls() if call.endpoint == "chat" and call.prompt_tokens]
    return len(calls), counts.prompt_tokens, counts.completion_tokens


@pytest.mark.full
async def test_a_provider_killed_in_mid_run_is_replaced_and_the_books_name_both(
    beside: Any, stubs: dict[str, StubProviderHandle]
) -> None:
    kinds = ("whole", "unheard", "silent", "midst")
    asked = {kind: [asyncio.create_task(ask(beside, kind, n)) for n in range(OF_EACH)] for kind in kinds}
    whole = await asyncio.gather(*asked["whole"])
    assert {events[-1]["model"] for events in whole} == {FIRST}
    counter = beside.counters(MODEL)

    def all_are_under_way() -> bool:
        texts = ["".join(live.log.texts) for live in beside.registry.turns.values() if live.log.texts]
        calls = [call for call in stubs["first"].calls() if call.endpoint == "chat"]
        return len(calls) == 4 * OF_EACH and [counter.count(text) for text in texts] == [9] * OF_EACH

    await eventually(all_are_under_way)
    of_first = served(stubs["first"])
    os.kill(stubs["first"].pid, signal.SIGKILL)
    later = [asyncio.create_task(ask(beside, "later", n)) for n in range(2 * OF_EACH)]

    for events in await asyncio.gather(*asked["midst"]):
        assert (events[-1]["code"], events[-1]["status"]) == ("provider_interrupted", "interrupted")
    for kind, reason in (("unheard", "provider_error"), ("silent", "provider_interrupted")):
        for events in await asyncio.gather(*asked[kind]):
            assert (events[0]["model"], events[-1]["model"]) == (FIRST, SECOND)
            assert events[-1]["fallback"] == {"from": FIRST, "reason": reason}
    for events in await asyncio.gather(*later):
        assert events[-1]["model"] == SECOND
        assert events[-1]["fallback"]["reason"] in ("provider_error", "provider_down")
    calls, prompts, answers = of_first
    # It counts an answer at its end: of those that it was still writing it had sent nine tokens each.
    first = calls, prompts, answers + 9 * OF_EACH
    assert await booked(beside) == {"first": first, "second": served(stubs["second"])}
    assert calls == 3 * OF_EACH and served(stubs["second"])[0] == 4 * OF_EACH
    entries = await beside.chat_usage()
    assert len({entry.id for entry in entries}) == len(entries)
    rows = await beside.rows("SELECT state, count(*) FROM chat.turns GROUP BY state ORDER BY state")
    assert [tuple(row) for row in rows] == [("completed", 5 * OF_EACH), ("interrupted", OF_EACH)]
