"""Where a chat is open: sessions that show signs of life with their token, and end by silence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.presence.domain import MOST_SESSIONS
from docuchat_chat.presence.errors import ChatSessionNotFound, TooManyChatSessions
from docuchat_chat.presence.service import PresenceService


async def silence(world: Any) -> None:
    await world.rows("UPDATE chat.chat_sessions SET last_activity = now() - interval '2 minutes 1 second'")


async def test_a_session_lives_by_its_signs_and_ends_by_hand_or_by_silence(bare_world: Any) -> None:
    world, caller = bare_world, bare_world.caller
    chat = await world.conversations.create(caller, "Open")
    presence = PresenceService(world.transactions)
    first, second = [await presence.open(caller, chat.id) for _ in range(2)]
    listed = await presence.list_active(caller, chat.id)
    assert [session.id for session in listed] == [second.session.id, first.session.id]
    stored = await world.rows("SELECT row_to_json(s)::text AS row FROM chat.chat_sessions s")
    assert not any(opened.token in row["row"] for opened in (first, second) for row in stored)

    kept = await presence.keep(caller, chat.id, first.session.id, first.token)
    assert kept.last_activity > first.session.last_activity
    with pytest.raises(ChatSessionNotFound):
        await presence.keep(caller, chat.id, first.session.id, second.token)
    await presence.close(caller, chat.id, second.session.id)
    with pytest.raises(ChatSessionNotFound):
        await presence.close(caller, chat.id, second.session.id)
    await silence(world)
    assert await presence.list_active(caller, chat.id) == []
    with pytest.raises(ChatSessionNotFound):
        await presence.keep(caller, chat.id, first.session.id, first.token)
    living = await presence.open(caller, chat.id)
    await presence.sweep()
    assert [row["id"] for row in await world.rows("SELECT id FROM chat.chat_sessions")] == [living.session.id]
    await world.conversations.delete(caller, chat.id)
    assert await world.rows("SELECT FROM chat.chat_sessions") == []


async def test_only_the_owner_is_there_and_in_so_many_places(bare_world: Any) -> None:
    world, caller = bare_world, bare_world.caller
    chat = await world.conversations.create(caller, "Open")
    presence = PresenceService(world.transactions)
    opened = await presence.open(caller, chat.id)
    for stranger in (world.new_caller(), world.new_caller(2)):
        for attempt in (
            presence.open(stranger, chat.id),
            presence.list_active(stranger, chat.id),
            presence.keep(stranger, chat.id, opened.session.id, opened.token),
            presence.close(stranger, chat.id, opened.session.id),
        ):
            with pytest.raises(ChatNotFound):
                await attempt
    for _ in range(MOST_SESSIONS - 1):
        await presence.open(caller, chat.id)
    with pytest.raises(TooManyChatSessions):
        await presence.open(caller, chat.id)
    await silence(world)
    await presence.open(caller, chat.id)


async def test_a_chat_is_open_in_as_many_places_as_may_be_when_more_open_it_at_once(bare_world: Any) -> None:
    world, caller = bare_world, bare_world.caller
    chat = await world.conversations.create(caller, "Open")
    presence = PresenceService(world.transactions)
    results = await asyncio.gather(
        *(presence.open(caller, chat.id) for _ in range(MOST_SESSIONS + 10)), return_exceptions=True
    )
    assert [type(result) for result in results if isinstance(result, Exception)] == [TooManyChatSessions] * 10
    assert len(await presence.list_active(caller, chat.id)) == MOST_SESSIONS
