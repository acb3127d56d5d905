"""What a removed user leaves behind among the chats: nothing, whatever comes when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from docuchat_chat.bootstrap import EXPORTED
from docuchat_chat.chatbots.domain import NewChatbot
from docuchat_chat.conversations.removals import Removals
from docuchat_chat.feedback.domain import Opinion
from docuchat_chat.feedback.service import FeedbackService
from docuchat_chat.sharing.domain import LIFE
from docuchat_chat.sharing.service import SharingService
from docuchat_chat.turns.domain import Question
from docuchat_common.db import load_queries
from docuchat_common.exporting import Exported, Exporter
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, ChatId, MessageId, UserId, uuid7
from docuchat_common.removals import RemovedUser
from docuchat_testkit.eventually import eventually

TABLES = ("chats", "messages", "turns", "idempotent_requests")


def gone(caller: Caller, *keys: Caller) -> RemovedUser:
    return RemovedUser(caller.tenant_id, UserId(caller.subject_id), tuple(key.subject_id for key in keys))


async def left(world: Any) -> list[int]:
    """How many rows of each table are there, of chats those that are not deleted."""
    await world.rows("DELETE FROM chat.chats WHERE deleted_at IS NOT NULL")
    return [(await world.rows(f"SELECT count(*) AS n FROM chat.{table}"))[0]["n"] for table in TABLES]


async def test_the_chats_of_a_removed_user_and_of_the_users_keys_go_and_nobody_elses(world: Any) -> None:
    eve, other = world.caller, world.new_caller()
    key = Caller(eve.tenant_id, "key", uuid7(), "member", owner_id=eve.subject_id)
    for caller in (eve, key, other):
        for number in range(3):
            world.caller = caller
            await world.ask(key=f"question-{number}", session_id=f"session {number}")
    removals = Removals(world.transactions, world.replay)
    for _ in range(2):
        await removals.settle(gone(eve, key))
    assert await left(world) == [3, 6, 3, 3]
    (owners,) = await world.rows("SELECT array_agg(DISTINCT subject_id) AS ids FROM chat.chats")
    assert owners["ids"] == [other.subject_id]
    assert len(await world.chat_usage()) == 9, "what was used stays booked"


async def test_of_an_erased_user_it_is_told_once_what_is_gone(world: Any) -> None:
    eve = world.caller
    await world.ask(session_id="one")
    await world.ask(session_id="two")
    removals = Removals(world.transactions, world.replay)
    await removals.settle(gone(world.new_caller()))
    for _ in range(2):
        await removals.settle(replace(gone(eve), is_erasure=True))
    rows = await world.rows("SELECT body FROM chat.outbox WHERE type = 'user.erased.v1'")
    (said,) = [orjson.loads(row["body"])["data"] for row in rows]
    assert (said["user_id"], said["service"]) == (str(eve.subject_id), "chat")
    assert said["erased"] == {"chats": 2, "messages": 4} and "provider_calls" in said["kept"]


async def test_of_whom_it_was_not_told_it_is_told_in_the_end(world: Any) -> None:
    eve, removals = world.caller, Removals(world.transactions, world.replay)
    async with world.transactions(eve.tenant_id) as tx:  # its event lies with the dead letters
        await tx.legacies.removed.remember(replace(gone(eve), is_erasure=True))
    said = "SELECT FROM chat.outbox WHERE type = 'user.erased.v1'"
    await removals.sweep()
    assert await world.rows(said) == [], "its event may be at work"
    await world.rows("UPDATE chat.removed_users SET removed_at = now() - interval '1 hour'")
    for _ in range(2):
        await removals.sweep()
    assert len(await world.rows(said)) == 1


async def told(world: Any, *subjects: Caller) -> dict[str, list[dict[str, Any]]]:
    exporter = Exporter(
        world.transactions._transactions, load_queries("docuchat_chat.conversations", "exports.sql"), EXPORTED
    )
    user, keys = (subjects[0].subject_id, tuple(key.subject_id for key in subjects[1:])) if subjects else (None, ())
    lines = [line async for line in exporter.lines(Exported(world.caller.tenant_id, user, keys))]
    rows: dict[str, list[dict[str, Any]]] = {file: [] for file in EXPORTED}
    for line in b"".join(lines).splitlines()[:-1]:
        said = orjson.loads(line)
        rows[said["file"]].append(said["row"])
    return rows


async def test_what_is_told_of_a_person_are_the_persons_own_chats_and_no_quotes(world: Any) -> None:
    eve, other = world.caller, world.new_caller()
    key = Caller(eve.tenant_id, "key", uuid7(), "member", owner_id=eve.subject_id)
    for caller in (other, key, eve):
        world.caller = caller
        world.model.scripts = [["It lasts two years [1]."]]
        start, *_ = await world.ask(f"How long is the warranty, asks {caller.subject_id}?")
        await FeedbackService(world.transactions).give(caller, MessageId(UUID(start["message_id"])), Opinion("up"))
        await SharingService(world.transactions).share(caller, ChatId(UUID(start["chat_id"])), "link", LIFE)
    async with world.transactions(eve.tenant_id) as tx:
        made = await tx.chatbots.add(eve.tenant_id, ChatbotId(uuid7()), NewChatbot("Shop"))
        await tx.chatbots.publish(made.chatbot, made.draft, None)
    all_of_it, of_eve = await told(world), await told(world, eve, key)
    files = ("chatbots", "chatbot_versions", "chats", "messages", "feedback", "shares")
    assert [len(all_of_it[file]) for file in files] == [1, 1, 3, 6, 3, 3]
    assert [len(of_eve[file]) for file in files] == [0, 0, 2, 4, 2, 2], "a chatbot is the tenant's"
    assert str(other.subject_id) not in orjson.dumps(of_eve).decode()
    cited = [citation for message in all_of_it["messages"] for citation in message["citations"]]
    assert cited and all(citation["quote"] for citation in cited)
    cited = [citation for message in of_eve["messages"] for citation in message["citations"]]
    told_of_documents = {"quote", "title", "filename"}
    assert cited and not any(told_of_documents & citation.keys() for citation in cited), "they may be hidden from her"


async def test_what_is_being_answered_ends_and_is_booked(world: Any) -> None:
    world.model.scripts = [["The warranty ", asyncio.Event()]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: live.log.texts == ["The warranty "])
    other = await world.other_process()
    await Removals(other.transactions, other.replay).settle(gone(world.caller))
    await asyncio.wait_for(live.finished.wait(), 60)
    assert await left(world) == [0, 0, 0, 0] and len(await world.chat_usage()) == 1


async def test_a_question_that_comes_after_its_user_is_gone_leaves_no_orphan(world: Any) -> None:
    removals = Removals(world.transactions, world.replay)
    await removals.settle(gone(world.caller))
    await world.ask()
    assert (await left(world))[0] == 1
    await removals.sweep()
    assert await left(world) == [0, 0, 0, 0]


async def test_a_turn_that_another_process_settles_names_the_key_and_its_user(world: Any) -> None:
    user = uuid7()
    world.caller = replace(Caller(world.caller.tenant_id, "key", uuid7(), "member"), owner_id=user)
    world.model.scripts = [["The warranty ", asyncio.Event()]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: live.log.texts == ["The warranty "])
    other = await world.other_process()
    await world.die()
    assert await other.recovery.sweep() == 1
    (booked,) = await world.chat_usage()
    assert (booked.key_id, booked.user_id) == (world.caller.subject_id, user)
