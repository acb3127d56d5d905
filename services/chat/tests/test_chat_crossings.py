"""What crosses: questions that wait for one slow provider, and deletions while an answer is written."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from docuchat_chat.turns.domain import Outcome, Question, TurnState
from docuchat_chat.turns.errors import TooBusy
from docuchat_chat.turns.settling import conclude, without_what_is_gone
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import MessageId, uuid7
from docuchat_common.metering import Used
from docuchat_models.errors import ProviderFailed, ProviderTimeout
from docuchat_testkit.eventually import eventually

QUESTION = Question("How long is the warranty?")
WAITING = "SELECT FROM pg_locks WHERE NOT granted"


async def test_a_provider_that_is_slow_keeps_nobody_from_asking(world: Any) -> None:
    """B19: no slot is held while it is waited for."""
    world.with_policy(max_preparing=4, preparation_patience=timedelta(minutes=1))
    world.embedder.gate = asyncio.Event()
    asking = [asyncio.create_task(world.asking.ask(world.caller, QUESTION)) for _ in range(6)]
    asking.append(asyncio.create_task(world.asking.ask(world.new_caller(2), QUESTION)))
    await eventually(lambda: world.embedder.asked == len(asking))
    world.embedder.gate.set()
    for answering in await asyncio.gather(*asking):
        await answering.result()


async def test_one_caller_has_a_share_of_the_slots_and_is_told_soon_to_come_back(world: Any) -> None:
    world.with_policy(max_preparing=4, preparation_patience=timedelta(milliseconds=200))
    world.holds.gate = asyncio.Event()
    first = asyncio.create_task(world.asking.ask(world.caller, QUESTION))
    await eventually(lambda: world.holds.asked == 1)
    with pytest.raises(TooBusy):
        await world.asking.ask(world.caller, QUESTION)
    other = asyncio.create_task(world.asking.ask(world.new_caller(2), QUESTION))
    await eventually(lambda: world.holds.asked == 2)
    world.holds.gate.set()
    for answering in await asyncio.gather(first, other):
        await answering.result()


async def test_only_turns_that_run_count_as_running(world: Any) -> None:
    world.with_policy(max_running_turns=1)
    ended = await world.ask()
    live = await begin_answer(world)
    assert ended[-1]["type"] == "end" and (world.registry.turns, running()) == ({live.turn.id: live}, 1)
    with pytest.raises(TooBusy):
        await world.asking.ask(world.caller, QUESTION)
    live.stop()
    await live.finished.wait()
    assert (world.registry.turns, running()) == ({}, 0)


async def test_one_tenant_leaves_room_for_others(world: Any) -> None:
    world.with_policy(max_running_turns=8)
    for _ in range(6):
        await begin_answer(world)
    with pytest.raises(TooBusy):
        await world.asking.ask(world.caller, QUESTION)
    others = await world.asking.ask(world.new_caller(2), QUESTION)
    assert (await others.result()).turn.tenant_id == 2
    for live in list(world.registry.turns.values()):
        live.stop()
        await live.finished.wait()


def running() -> float | None:
    """What Prometheus is told."""
    return REGISTRY.get_sample_value("docuchat_chat_open_turns")


@pytest.mark.parametrize(("failure", "asked"), [(ProviderTimeout(), 3), (ProviderFailed(), 3), (None, 5)])
async def test_after_three_failures_words_alone_are_searched_for_a_while(
    world: Any, failure: DocuChatError | None, asked: int
) -> None:
    world.embedder.failure = failure
    for _ in range(5):
        assert (await world.ask())[-1]["type"] == "end"
    assert world.embedder.asked == asked


async def begin_answer(world: Any) -> Any:
    """A turn whose provider has not ended yet."""
    world.model.scripts = [["The warranty lasts two years [1].", asyncio.Event(), "stop"]]
    answering = await world.asking.ask(world.caller, QUESTION)
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: bool(live.log.texts))
    return live


async def delete_document(world: Any, live: Any) -> Any:
    document_id = live.turn.sources[0].passage.document_id
    await world.rows("UPDATE knowledge.documents SET deleted_at = now() WHERE id = $1", document_id)
    return document_id


async def stored_citation(world: Any, live: Any) -> Any:
    (row,) = await world.rows("SELECT citations FROM chat.messages WHERE id = $1", live.turn.message_id)
    (citation,) = orjson.loads(row["citations"])
    return citation


async def test_a_document_deleted_while_an_answer_is_written_leaves_no_words_in_it(world: Any) -> None:
    """C9, A10: the deletion's call and event have passed when the answer is stored."""
    live = await begin_answer(world)
    document_id = await delete_document(world, live)
    assert await world.conversations.forget_document(world.caller.tenant_id, document_id) == 0
    world.model.scripts[0][1].set()
    await live.finished.wait()
    (told,) = [frame for frame in await world.collect(live.log.read(0)) if "citations" in frame]
    for citation in (await stored_citation(world, live), *told["citations"]):
        assert (citation["title"], citation["filename"], citation["quote"], citation["deleted"]) == ("", "", "", True)


def ended(world: Any, live: Any) -> Outcome:
    return conclude(
        state=TurnState.COMPLETED,
        finish_reason="stop",
        text="".join(live.log.texts),
        frame_lengths=tuple(map(len, live.log.texts)),
        sources=live.prompt.sources,
        usage=Used(10, 5),
        text_tokens=5,
        tokenizer="o200k_base",
        error=None,
        now=live.turn.created_at,
    )


async def test_a_deletion_that_crosses_the_storing_of_an_answer_waits_and_finds_it(world: Any) -> None:
    """C9: the look at the documents came first, the answer's commit last."""
    live = await begin_answer(world)
    async with world.database.connect() as admin, world.transactions(world.caller.tenant_id) as tx:
        outcome, _ = await without_what_is_gone(tx, live.turn, ended(world, live))
        assert outcome.citations[0].quote
        document_id = await delete_document(world, live)
        forgetting = asyncio.create_task(world.conversations.forget_document(world.caller.tenant_id, document_id))
        await eventually(lambda: admin.fetch(WAITING))
        await tx.turns.finish(live.turn, outcome, live.turn.owner)
    assert await forgetting == 1
    citation = await stored_citation(world, live)
    assert (citation["title"], citation["filename"], citation["quote"], citation["deleted"]) == ("", "", "", True)
    world.model.scripts[0][1].set()
    await live.finished.wait()


async def test_a_message_that_was_quicker_than_the_deletion_of_its_chat_goes_with_it(world: Any) -> None:
    """C6."""
    chat_id = (await world.ask())[0]["chat_id"]
    async with world.database.connect() as admin, world.transactions(world.caller.tenant_id) as tx:
        await tx.chats.add_message(world.caller, chat_id, MessageId(uuid7()), "One more.", {})
        deleting = asyncio.create_task(world.conversations.delete(world.caller, chat_id))
        await eventually(lambda: admin.fetch(WAITING))
    await deleting
    assert await world.rows("SELECT FROM chat.messages WHERE chat_id = $1", chat_id) == []
