"""Asking, on a real database and Redis."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.answers.errors import MessageEmpty, ModelNotAllowed
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_chat.conversations.errors import ChatNotFound, MessageTooLong
from docuchat_chat.turns.domain import Question, TurnState
from docuchat_common.errors import NotFound, QuotaExceeded, UpstreamUnavailable
from docuchat_common.ids import ChatId, CollectionId, DocumentId, TurnId, uuid7
from docuchat_models.chat import TokenUsage
from docuchat_models.errors import ProviderFailed, ProviderInterrupted, ProviderRateLimited
from docuchat_testkit.clock import leap
from docuchat_testkit.eventually import eventually


async def test_an_answer_is_streamed_cited_stored_and_booked(world: Any) -> None:
    world.model.usage = TokenUsage(321, 7)
    events = await world.ask(session_id="123")

    assert [event["type"] for event in events] == ["start", "sources", "delta", "end"]
    start, sources, delta, end = events
    assert start["session_id"] == "123"
    assert sources["sources"][0]["page"] == 1
    assert delta == {"type": "delta", "turn_id": start["turn_id"], "seq": 1, "token": "Two years [1]."}
    assert end["seq"] == 2 and end["finish_reason"] == "stop"
    assert end["usage"] == {"input_tokens": 321, "output_tokens": 7, "total_tokens": 328, "estimated": False}
    assert [(c["number"], c["page"], c["quote"]) for c in end["citations"]] == [(1, 1, "The warranty lasts two years.")]
    (recorded,) = await world.chat_usage()
    assert (recorded.input_tokens, recorded.output_tokens, recorded.estimated) == (321, 7, False)
    assert str(recorded.turn_id) == start["turn_id"] and recorded.hold_id in world.holds.open_holds
    completed = await world.completed()
    assert len(completed) == 1 and completed[0].citations == 1
    chat = await world.conversations.get(world.caller, ChatId(completed[0].chat_id), 10, 0)
    assert [m.role for m in chat.messages] == ["user", "assistant"]
    assert chat.chat.title == "How long is the warranty?" and chat.chat.message_count == 2


async def test_what_the_prompt_leaves_out_of_a_question_is_stored_as_it_was_typed(world: Any) -> None:
    await world.ask(" / //How long is the warranty? ")
    (stored,) = await world.rows("SELECT content FROM chat.messages WHERE role = 'user'")
    assert stored["content"] == "/ //How long is the warranty?"
    (request,) = world.model.requests
    assert request.question == "/ //How long is the warranty?"
    assert request.messages[-1].content.endswith("\nQuestion:\nHow long is the warranty?")


async def test_the_embedding_of_the_question_is_booked(world: Any) -> None:
    await world.ask()
    (embedding,) = [event for event in (await world.usage()) if event.kind == "embedding"]
    assert (embedding.input_tokens, embedding.model) == (5, "text-embedding-3-small")


async def test_the_turn_is_written_before_the_provider_is_called(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [[gate, "late", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    turn = await world.turn(answering.turn.id)
    assert turn.state is TurnState.RUNNING and turn.hold_id is not None and turn.prompt_tokens > 0
    gate.set()
    await answering.result()


async def test_a_number_in_brackets_that_was_not_retrieved_is_reported_as_not_cited(world: Any) -> None:
    world.model.scripts = [["Two years [1]. Also red [9].", "stop"]]
    end = (await world.ask())[-1]
    assert [c["number"] for c in end["citations"]] == [1] and end["not_cited"] == [9]


async def test_quota_refuses_before_the_provider_is_called_and_leaves_nothing(world: Any) -> None:
    world.holds.refusal = QuotaExceeded(retry_after=timedelta(hours=3), resets_at="2026-12-01T00:00:00Z")
    with pytest.raises(QuotaExceeded) as refused:
        await world.ask()
    assert refused.value.extensions["resets_at"] and refused.value.retry_after == timedelta(hours=3)
    assert world.model.requests == []
    assert await world.rows("SELECT FROM chat.turns") == await world.rows("SELECT FROM chat.messages") == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"message": "x" * 1_000_000}, MessageTooLong),
        ({"message": "word " * 3000}, MessageTooLong),
        ({"message": " \n\x00 "}, MessageEmpty),
        ({"message": "hi", "model": "gpt-5-pro"}, ModelNotAllowed),
    ],
)
async def test_bad_questions_cost_nothing(world: Any, fields: dict[str, Any], error: type[Exception]) -> None:
    world.with_policy(max_context_tokens=2000)
    with pytest.raises(error) as refused:
        await world.ask(**fields)
    assert world.holds.opened == [] and (await world.usage()) == [] and world.model.requests == []
    if error is ModelNotAllowed:
        assert refused.value.extensions["allowed_models"] == ["gpt-4o-mini", "gpt-4o"]


@pytest.mark.parametrize(
    ("status", "said"), [("queued", "1 still being processed"), (None, "no documents"), ("failed", "1 failed")]
)
async def test_without_passages_it_says_so_and_no_model_is_called(
    bare_world: Any, seed: Any, status: str | None, said: str
) -> None:
    if status is not None:
        await seed(["The warranty."], ready=False)
        await bare_world.rows("UPDATE knowledge.documents SET status = $1", status)
    events = await bare_world.ask()
    assert said in events[2]["token"] and events[1]["sources"] == []
    assert events[-1]["finish_reason"] == "no_sources" and events[-1]["usage"]["total_tokens"] == 0
    assert bare_world.model.requests == [] and bare_world.holds.open_holds == {}
    # it is a message that was sent, and costs no tokens of a model
    assert len(bare_world.holds.settled) == 1 and bare_world.holds.released == []
    assert await bare_world.chat_usage() == []


async def test_words_that_no_document_has_are_told_so(world: Any) -> None:
    world.embedder.failure = UpstreamUnavailable()  # nearness always finds something
    events = await world.ask("Quokka?")
    assert "nothing about this" in events[2]["token"] and world.model.requests == []


async def test_the_notice_is_in_the_language_of_the_question(bare_world: Any, seed: Any) -> None:
    await seed(["The warranty."], ready=False)
    assert "پردازش" in (await bare_world.ask("گارانتی چند سال است؟"))[2]["token"]


async def test_words_alone_are_searched_when_the_embedding_fails(world: Any) -> None:
    world.embedder.failure = UpstreamUnavailable()
    assert (await world.ask())[-1]["type"] == "end"


async def test_a_session_is_one_chat_and_its_history_is_in_the_prompt(world: Any) -> None:
    first = await world.ask("How long is the warranty?", session_id="abc")
    second = await world.ask("And for the motor?", session_id="abc")
    by_id = await world.ask("And for parts?", session_id=first[0]["chat_id"])
    assert first[0]["chat_id"] == second[0]["chat_id"] == by_id[0]["chat_id"]
    roles = [m.role for m in world.model.requests[1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert world.model.requests[1].messages[1].content == "How long is the warranty?"


async def test_somebody_elses_chat_is_not_found(world: Any) -> None:
    chat_id = ChatId(UUID((await world.ask())[0]["chat_id"]))
    held = set(world.holds.open_holds)
    with pytest.raises(ChatNotFound):
        await world.asking.ask(world.new_caller(), Question("hi", chat_id=chat_id))
    assert set(world.holds.open_holds) == held


async def test_a_hang_up_does_not_stop_the_answer(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["one ", gate, "two", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    frames = answering.events(-1)
    await anext(frames)
    await frames.aclose()
    gate.set()
    assert (await answering.result()).message.content == "one two"


async def test_stopping_keeps_and_books_what_was_sent(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["The warranty lasts", gate, "never", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    await eventually(lambda: len(world.registry.turns[answering.turn.id].log.texts) == 1)
    await world.replay.stop(world.caller, answering.turn.id)
    answer = await answering.result()
    assert answer.message.status is MessageStatus.STOPPED and answer.message.content == "The warranty lasts"
    (recorded,) = await world.chat_usage()
    assert recorded.estimated and recorded.output_tokens == 3
    assert world.model.closed == 1


async def test_a_rate_limited_provider_is_asked_again_and_only_the_answer_is_booked(world: Any) -> None:
    world.model.scripts = [[ProviderRateLimited(retry_after=timedelta(0))], ["Two [1].", "stop"]]
    world.model.scripts[0][0].retry_after = timedelta(milliseconds=1)
    assert (await world.ask())[-1]["type"] == "end"
    assert len(world.model.requests) == 2 and len(await world.chat_usage()) == 1


async def test_a_provider_that_stays_rate_limited_is_an_error_and_costs_nothing(world: Any) -> None:
    world.model.scripts = [[ProviderRateLimited(retry_after=timedelta(seconds=60))]]
    events = await world.ask(key="k")
    assert events[-1] | {"message": ""} == {
        "type": "error",
        "seq": 1,
        "code": "provider_rate_limited",
        "message": "",
        "turn_id": events[0]["turn_id"],
        "message_id": events[0]["message_id"],
        "status": "failed",
        "retry_after": 60,
    }
    assert (await world.chat_usage()) == [] and world.holds.open_holds == {}
    world.model.scripts = [["Two [1].", "stop"]]
    assert (await world.ask(key="k"))[-1]["type"] == "end"


async def test_a_failed_turn_raises_for_those_who_wait(world: Any) -> None:
    world.with_policy(provider_attempts=1)
    world.model.scripts = [[ProviderFailed()]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    with pytest.raises(ProviderFailed) as failed:
        await answering.result()
    assert failed.value.extensions["turn_id"] == str(answering.turn.id)


async def test_a_cut_keeps_the_partial_answer_and_books_it(world: Any) -> None:
    world.model.scripts = [["The warranty lasts", ProviderInterrupted()]]
    events = await world.ask()
    assert events[-1]["code"] == "provider_interrupted" and events[-1]["status"] == "interrupted"
    (recorded,) = await world.chat_usage()
    assert recorded.estimated and recorded.output_tokens == 3
    (stored,) = await world.rows("SELECT content, status FROM chat.messages WHERE role = 'assistant'")
    assert tuple(stored) == ("The warranty lasts", "interrupted")
    assert len(world.model.requests) == 1


async def test_a_silent_provider_times_out(world: Any) -> None:
    world.with_policy(between_tokens_timeout=timedelta(milliseconds=20))
    world.model.scripts = [["The", asyncio.Event(), "stop"]]
    events = await world.ask()
    assert events[-1]["code"] == "provider_timeout"
    assert (await world.chat_usage())[0].output_tokens == 1 and world.model.closed == 1


async def test_a_provider_silent_from_the_start_times_out(world: Any) -> None:
    world.with_policy(first_token_timeout=timedelta(milliseconds=20))
    world.model.scripts = [["accept", asyncio.Event(), "stop"]]
    events = await world.ask()
    assert events[-1]["code"] == "provider_timeout"
    assert (await world.chat_usage())[0].output_tokens == 0 and (await world.chat_usage())[0].input_tokens > 0


async def say_slowly(world: Any, pause: float, *, words: int) -> tuple[Any, str]:
    """Ask for an answer with a silence after each word; returns the turn at its end, and what was shown of it."""
    gates = [asyncio.Event() for _ in range(words + 1)]
    spoken = [step for gate in gates[:-1] for step in (gate, "word ")]
    world.model.scripts = [["accept", *spoken, gates[-1], "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    live = world.registry.turns[answering.turn.id]
    for number, gate in enumerate(gates[:-1], 1):
        gate.set()
        await eventually(lambda number=number: len(live.log.texts) == number or live.generation.done())
        leap(pause)
    gates[-1].set()
    await live.finished.wait()
    return live, "".join(live.log.texts)


async def test_an_answer_that_speaks_on_outlives_the_time_out_of_a_silence(world: Any) -> None:
    world.with_policy(between_tokens_timeout=timedelta(seconds=60))
    live, shown = await say_slowly(world, 40, words=4)
    assert (live.outcome.state, shown) == (TurnState.COMPLETED, "word " * 4)


async def test_an_answer_that_speaks_on_ends_at_the_turns_time_out_and_is_kept_and_booked(world: Any) -> None:
    world.with_policy(between_tokens_timeout=timedelta(seconds=60), turn_timeout=timedelta(seconds=100))
    live, shown = await say_slowly(world, 40, words=4)
    assert (live.outcome.state, live.outcome.error_code) == (TurnState.INTERRUPTED, "provider_timeout")
    assert shown.startswith("word " * 3) and world.model.closed == 1
    (stored,) = await world.rows("SELECT content, status FROM chat.messages WHERE role = 'assistant'")
    assert tuple(stored) == (shown, "interrupted")
    (booked,) = await world.chat_usage()
    assert (booked.output_tokens, booked.estimated) == (world.counters("gpt-4o-mini").count(shown), True)


async def test_the_hold_shrinks_to_what_the_prompt_can_come_to(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["x", gate, "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long?"))
    wanted = answering.turn.prompt_tokens + world.policy.max_output_tokens
    await eventually(lambda: world.holds.open_holds[answering.turn.hold_id] == wanted)
    assert world.holds.opened[0] > wanted
    gate.set()
    await answering.result()


async def test_documents_of_another_model_are_told_in_the_sources_and_when_replayed(world: Any) -> None:
    await world.rows("UPDATE knowledge.embedding_spaces SET is_current = false")
    await world.rows(
        "INSERT INTO knowledge.embedding_spaces (provider, model, dimension, is_current) VALUES ('new', 'new', 8, true)"
    )
    events = await world.ask()
    assert events[1]["notice"].startswith("1 documents were embedded with another model")
    other = await world.other_process()
    assert await world.collect(await other.replay.resume(world.caller, TurnId(UUID(events[0]["turn_id"])), 0)) == events


async def test_unknown_documents_are_named_and_nothing_is_asked(world: Any) -> None:
    (known,) = await world.rows("SELECT id FROM knowledge.documents")
    unknown = DocumentId(uuid7())
    with pytest.raises(NotFound, match=str(unknown)):
        await world.ask(document_ids=(DocumentId(UUID(str(known["id"]))), unknown))
    assert world.model.requests == [] and world.holds.open_holds == {}
    assert (await world.ask(document_ids=(DocumentId(UUID(str(known["id"]))),)))[-1]["type"] == "end"


async def test_a_collection_that_is_not_there_or_not_ones_own_is_named_and_nothing_is_asked(world: Any) -> None:
    (own,) = await world.rows("SELECT id FROM knowledge.collections")
    foreign = CollectionId(uuid7())
    insert = "INSERT INTO knowledge.collections (id, tenant_id, name, is_default) VALUES ($1, 2, 'Theirs', true)"
    await world.rows(insert, foreign)
    for collection_id in (foreign, CollectionId(uuid7())):
        with pytest.raises(NotFound, match=str(collection_id)) as refused:
            await world.ask(collection_id=collection_id)
        assert refused.value.code == "collection_not_found"
    assert world.model.requests == [] and world.holds.open_holds == {}
    assert (await world.ask(collection_id=CollectionId(UUID(str(own["id"])))))[-1]["type"] == "end"


async def test_what_the_model_writes_is_defused_in_the_stream_and_in_the_store_alike(world: Any) -> None:
    world.model.scripts = [
        ["See !", "[x](https://e.example) <im", "g src=x> [a](java", "script:alert(1)) \u202eend", "!", "stop"]
    ]
    events = await world.ask()
    text = "".join(e["token"] for e in events if e["type"] == "delta")
    assert text == "See ! [x] ([link removed: e[.]example]) < img src=x> [a] (javascript:alert(1)) end!"
    (stored,) = await world.rows("SELECT content FROM chat.messages WHERE role = 'assistant'")
    assert stored["content"] == text


async def test_an_answer_that_repeats_its_instructions_ends_for_all_who_see_it_and_is_billed(world: Any) -> None:
    rules = "You answer questions about the user's documents. Rules: 1. Use only the numbered sources".split(" ")
    world.model.scripts = [["Sure: ", *(f"{word} " for word in rules), "and more", "stop"]]
    events = await world.ask()
    text = "".join(event["token"] for event in events if event["type"] == "delta")
    (stored,) = await world.rows("SELECT content, metadata FROM chat.messages WHERE role = 'assistant'")
    assert text == stored["content"] and text.startswith("Sure: You answer questions") and "numbered" not in text
    assert text.endswith("instructions that are not part of the documents.")
    assert events[-1]["finish_reason"] == "content_filter" and world.model.closed == 1
    (booked,) = await world.chat_usage()
    assert booked.output_tokens >= len(rules) - 1
