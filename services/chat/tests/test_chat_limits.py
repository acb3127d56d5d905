"""What is stored has bounds: messages of a chat, messages that nobody answers, questions of a budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docuchat_chat.adapters.usage import UsageHolds
from docuchat_chat.conversations.domain import MOST_MESSAGES
from docuchat_chat.conversations.errors import ChatFull, TooManyMessages
from docuchat_chat.conversations.service import MOST_STORED
from docuchat_chat.turns.domain import Question
from docuchat_common.contracts.holds import HoldKind, HoldRequest, HoldUnit, HoldView
from docuchat_common.ids import uuid7
from docuchat_common.rate_limits import Limit


async def test_a_full_chat_takes_neither_a_message_nor_a_question(world: Any) -> None:
    chat = await world.conversations.create(world.caller, "Notes")
    await world.rows("UPDATE chat.chats SET message_count = $1 WHERE id = $2", MOST_MESSAGES - 1, chat.id)
    await world.conversations.add_message(world.caller, chat.id, "The last one.", {})
    with pytest.raises(ChatFull):
        await world.conversations.add_message(world.caller, chat.id, "One more.", {})
    with pytest.raises(ChatFull):
        await world.asking.ask(world.caller, Question("Why?", session_id=chat.session_id))

    assert (world.embedder.asked, world.holds.open_holds) == (0, {})
    stored = (await world.conversations.get(world.caller, chat.id, 10, 0)).messages
    assert [message.content for message in stored] == ["The last one."]


async def test_messages_that_nobody_answers_have_a_limit_a_day(world: Any) -> None:
    chat = await world.conversations.create(world.caller, None)
    used_up = Limit("messages", world.caller.subject, MOST_STORED)
    await world.limiter.hit(used_up, cost=MOST_STORED.amount - 1)
    await world.conversations.add_message(world.caller, chat.id, "The last of today.", {})
    with pytest.raises(TooManyMessages) as refused:
        await world.conversations.add_message(world.caller, chat.id, "One more.", {})
    assert refused.value.retry_after


@pytest.mark.parametrize(
    ("kind", "counts", "units"),
    [
        (HoldKind.CHAT, HoldUnit.MESSAGES, {"messages"}),
        (HoldKind.CHAT, None, set()),
        (HoldKind.EMBEDDING, HoldUnit.REQUESTS, {"requests"}),
    ],
)
async def test_a_hold_is_one_of_what_is_counted_beside_its_tokens(
    world: Any, kind: HoldKind, counts: HoldUnit | None, units: set[str]
) -> None:
    asked: list[HoldRequest] = []

    class Client:
        async def open(self, request: HoldRequest) -> HoldView:
            asked.append(request)
            return HoldView(hold_id=uuid7(), tokens=15, expires_at=datetime.now(UTC))

    client: Any = Client()
    await UsageHolds(client, kind, timedelta(seconds=60), counts=counts).open(world.caller, world.embedder, 10, 5)
    assert {each.unit: each.amount for each in asked[0].amounts} == {
        "input_tokens": 10,
        "output_tokens": 5,
        **dict.fromkeys(units, 1),
    }
