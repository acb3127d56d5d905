"""What readers think of answers: one opinion a message and subject, seen by its giver, gone with the message."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.feedback.domain import Opinion
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.feedback.service import FeedbackService
from docuchat_common.events.chats import MessageFeedback
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, MessageId, uuid7

GOOD = Opinion("up", "helpful", "Thank you, that was short.")
BAD = Opinion("down", "wrong_citation")


async def asked(world: Any) -> tuple[ChatId, MessageId]:
    start, *_ = await world.ask()
    return ChatId(UUID(start["chat_id"])), MessageId(UUID(start["message_id"]))


async def opinions(world: Any, chat_id: ChatId) -> list[Opinion | None]:
    messages = (await world.conversations.get(world.caller, chat_id, 9, 0)).messages
    return [message.feedback.opinion if message.feedback else None for message in messages]


@pytest.mark.parametrize("kind", ["user", "visitor", "chatbot"])
async def test_an_opinion_is_kept_changed_and_taken_back(world: Any, kind: Any) -> None:
    world.caller = Caller(world.caller.tenant_id, kind, uuid7())
    chat_id, answer = await asked(world)
    feedback = FeedbackService(world.transactions)
    for opinion in (GOOD, BAD, BAD):
        assert (await feedback.give(world.caller, answer, opinion)).opinion == opinion
        assert await opinions(world, chat_id) == [None, opinion]
    for _ in range(2):
        await feedback.take_back(world.caller, answer)
        assert await opinions(world, chat_id) == [None, None]
    told = [event for event in await world.events() if isinstance(event, MessageFeedback)]
    assert [(event.rating, event.reason, event.has_text) for event in told] == [
        ("up", "helpful", True),
        ("down", "wrong_citation", False),
        ("none", None, False),
    ]
    assert {(event.chat_id, event.message_id, event.subject_type) for event in told} == {(chat_id, answer, kind)}
    bodies = await world.rows("SELECT body FROM chat.outbox")
    assert not any(b"Thank you" in row["body"] for row in bodies), "events have no words"


async def test_the_same_again_is_told_to_nobody_however_often_it_comes_at_once(world: Any) -> None:
    _, answer = await asked(world)
    feedback = FeedbackService(world.transactions)
    given = await asyncio.gather(*(feedback.give(world.caller, answer, GOOD) for _ in range(20)))
    assert [one.opinion for one in given] == [GOOD] * 20
    await asyncio.gather(*(feedback.take_back(world.caller, answer) for _ in range(20)))
    ratings = [event.rating for event in await world.events() if isinstance(event, MessageFeedback)]
    assert ratings == ["up", "none"]


async def test_only_ones_own_answers_are_rated(world: Any) -> None:
    chat_id, answer = await asked(world)
    feedback = FeedbackService(world.transactions)
    question = (await world.conversations.get(world.caller, chat_id, 9, 0)).messages[0]
    with pytest.raises(NotAnAnswer):
        await feedback.give(world.caller, question.id, GOOD)
    for stranger in (world.new_caller(), world.new_caller(2)):
        with pytest.raises(MessageNotFound):
            await feedback.give(stranger, answer, GOOD)
        with pytest.raises(MessageNotFound):
            await feedback.take_back(stranger, answer)
    assert await world.rows("SELECT FROM chat.feedback") == []


async def test_it_goes_with_its_chat(world: Any) -> None:
    chat_id, answer = await asked(world)
    feedback = FeedbackService(world.transactions)
    await feedback.give(world.caller, answer, GOOD)
    await world.conversations.delete(world.caller, chat_id)
    assert await world.rows("SELECT FROM chat.feedback") == []
    with pytest.raises(MessageNotFound):
        await feedback.give(world.caller, answer, GOOD)
