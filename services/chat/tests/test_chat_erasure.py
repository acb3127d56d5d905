"""A deleted tenant leaves no chat, no answer that runs and nothing that is streamed, whenever it is deleted."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

import pytest

from docuchat_chat.bootstrap import _keys_of
from docuchat_chat.chatbots.domain import NewChatbot
from docuchat_chat.feedback.domain import Opinion
from docuchat_chat.feedback.service import FeedbackService
from docuchat_chat.sharing.domain import LIFE
from docuchat_chat.sharing.service import SharingService
from docuchat_chat.tenant_erasure import make_erasure
from docuchat_chat.turns.domain import Question
from docuchat_common.db import UnitOfWork
from docuchat_common.errors import TenantGone
from docuchat_common.events.catalogue import TenantErased
from docuchat_common.ids import ChatbotId, ChatId, MessageId, uuid7
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_testkit.eventually import eventually
from docuchat_testkit.leftovers import rows_of

QUESTION = Question("How long is the warranty?")
STAYS = {"chat.erased_tenants", "chat.outbox"}


class NoDeadLetters:
    async def discard_of(self, _: Any) -> int:
        return 0


def erasure_of(world: Any) -> Any:
    transactions = cast("UnitOfWork[Any]", world.transactions)
    office = cast(DeadLetterOffice, NoDeadLetters())
    return make_erasure(transactions, world.replay, world.board._redis, office, _keys_of)


async def left(world: Any, tenant: int) -> set[str]:
    async with world.database.connect() as administrator:
        rows = set(await rows_of(administrator, tenant, "chat."))
    keys = [key async for key in world.board._redis.scan_iter(match=f"chat:*:{tenant}:*")]
    return rows - STAYS | {key.decode() for key in keys}


async def test_chats_messages_turns_calls_and_streams_of_one_tenant_go(world: Any) -> None:
    other = world.new_caller(2)
    start, *_ = await world.ask(key="once")
    feedback = FeedbackService(world.transactions)
    await feedback.give(world.caller, MessageId(UUID(start["message_id"])), Opinion("up", text="Good."))
    await SharingService(world.transactions).share(world.caller, ChatId(UUID(start["chat_id"])), "link", LIFE)
    mine, world.caller = world.caller, other
    await world.ask()
    world.caller = mine
    chat = (await world.conversations.list_chats(mine, 10, None, None))[0]
    await world.conversations.add_message(mine, chat.id, "And this?", {})
    assert {
        "chat.chats",
        "chat.messages",
        "chat.feedback",
        "chat.shares",
        "chat.turns",
        "chat.provider_calls",
    } < await left(world, 1)
    async with world.transactions(mine.tenant_id) as tx:
        for _ in range(2):
            made = await tx.chatbots.add(mine.tenant_id, ChatbotId(uuid7()), NewChatbot("Shop"))
            await tx.chatbots.publish(made.chatbot, made.draft, None)
            await tx.chatbots.note_untold(mine.tenant_id, made.chatbot.id)
        await tx.chatbots.remove(mine.tenant_id, made.chatbot.id)
    of_chatbots = {"chat.chatbots", "chat.chatbot_versions", "chat.removed_chatbots", "chat.untold_chatbots"}
    assert of_chatbots < await left(world, 1)
    of_other = await left(world, 2)

    erasure = erasure_of(world)
    for _ in range(3):
        await erasure.begin(mine.tenant_id)
        await erasure.go_on()
    with pytest.raises(TenantGone):
        await world.ask()
    with pytest.raises(TenantGone):
        async with world.transactions(mine.tenant_id) as tx:
            await tx.chatbots.add(mine.tenant_id, ChatbotId(uuid7()), NewChatbot("Shop"))

    assert await left(world, 1) == set()
    assert await left(world, 2) == of_other
    (event,) = [event for event in await world.events() if isinstance(event, TenantErased)]
    assert (event.erased["chats"], event.erased["messages"], event.kept) == (1, 3, {})


@pytest.mark.parametrize("moment", range(6))
async def test_an_answer_that_is_written_meanwhile_ends_and_leaves_nothing(world: Any, moment: int) -> None:
    """R14: at each step of a turn."""
    gates = [asyncio.Event() for _ in range(3)]
    world.model.scripts = [[gates[0], "The warranty ", gates[1], "lasts two years [1].", gates[2], "stop"]]
    world.holds.gate = asyncio.Event()
    asking = asyncio.create_task(world.asking.ask(world.caller, QUESTION))
    await eventually(lambda: world.holds.asked == 1)
    erasure = erasure_of(world)

    async def erase() -> None:
        await erasure.begin(world.caller.tenant_id)
        await erasure.go_on()

    if moment == 0:
        await erase()
    world.holds.gate.set()
    erasing = asyncio.create_task(erase()) if moment == 1 else None
    live: Any = None
    try:
        live = world.registry.turns[(await asking).turn.id]
    except TenantGone:
        assert moment <= 1
    for shown, gate in enumerate(gates):
        if live is not None:
            await eventually(lambda shown=shown: len(live.log.texts) >= shown or live.finished.is_set())
        if moment == shown + 2:
            await erase()
        gate.set()
    await (erasing or erase())
    if live is not None:
        await eventually(live.finished.is_set)
    await world.recovery.sweep()
    await world.board.copy()

    async def is_gone() -> bool:
        return await left(world, 1) == set()

    await eventually(is_gone)
