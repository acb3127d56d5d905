"""Links to chats: what was there then, to who may read it, for so long, and no longer than the chat."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.sharing.domain import LIFE, MOST_SHARES
from docuchat_chat.sharing.errors import NothingToShare, ShareNotFound, TooManyShares
from docuchat_chat.sharing.service import SharingService
from docuchat_chat.turns.domain import Question
from docuchat_common.errors import Unauthenticated
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, TenantId, uuid7
from docuchat_testkit.eventually import eventually

WORDS = ("title", "filename", "quote")


async def asked(world: Any, message: str = "How long is the warranty? ![x](http://e.x/p)", **fields: Any) -> ChatId:
    start, *_ = await world.ask(message, **fields)
    return ChatId(UUID(start["chat_id"]))


async def contents(sharing: SharingService, reader: Caller | None, token: str) -> list[str]:
    return [message.content for message in (await sharing.follow(reader, token, 50, 0)).messages]


async def test_a_link_shows_what_was_there_and_nothing_of_the_documents(world: Any) -> None:
    chat_id, sharing = await asked(world, session_id="s"), SharingService(world.transactions)
    issued = await sharing.share(world.caller, chat_id, "link", LIFE)
    await world.ask("And later?", session_id="s")
    shared = await sharing.follow(None, issued.token, 50, 0)
    question, answer = shared.messages
    assert "warranty" in question.content and "![" not in question.content and answer.content == "Two years [1]."
    (citation,) = answer.citations
    assert [getattr(citation, word) for word in WORDS] == ["", "", ""] and citation.number == 1
    assert [message.id for message in (await sharing.follow(None, issued.token, 50, question.seq)).messages] == [
        answer.id
    ]
    stored = await world.rows("SELECT row_to_json(s)::text AS row FROM chat.shares s")
    assert len(stored) == 1 and issued.token not in stored[0]["row"]


async def test_a_tenants_link_is_for_its_users_and_quotes_what_they_may_read(world: Any) -> None:
    chat_id, sharing = await asked(world), SharingService(world.transactions)
    issued = await sharing.share(world.caller, chat_id, "tenant", LIFE)
    with pytest.raises(Unauthenticated):
        await sharing.follow(None, issued.token, 50, 0)
    visitor = Caller(TenantId(1), "visitor", uuid7(), "visitor")
    for stranger in (world.new_caller(2), visitor):
        with pytest.raises(ShareNotFound):
            await sharing.follow(stranger, issued.token, 50, 0)
    colleague = world.new_caller()
    (citation,) = (await sharing.follow(colleague, issued.token, 50, 0)).messages[1].citations
    assert citation.quote and citation.title == "Handbook"
    collection = uuid7()
    await world.rows(
        "INSERT INTO knowledge.collections (id, tenant_id, name, is_default, visibility) "
        "VALUES ($1, 1, 'Board', false, 'restricted')",
        collection,
    )
    await world.rows("UPDATE knowledge.documents SET collection_id = $1", collection)
    (citation,) = (await sharing.follow(colleague, issued.token, 50, 0)).messages[1].citations
    assert [getattr(citation, word) for word in WORDS] == ["", "", ""] and citation.deleted


async def test_a_link_ends_by_time_by_hand_and_with_its_chat(world: Any) -> None:
    chat_id, sharing = await asked(world), SharingService(world.transactions)
    late, revoked, gone = [await sharing.share(world.caller, chat_id, "link", LIFE) for _ in range(3)]
    listed = await sharing.list_shares(world.caller, chat_id, 9, None)
    assert [share.id for share in listed] == [issued.share.id for issued in (gone, revoked, late)]
    await world.rows("UPDATE chat.shares SET expires_at = now() WHERE id = $1", late.share.id)
    await sharing.revoke(world.caller, chat_id, revoked.share.id)
    for issued in (late, revoked):
        with pytest.raises(ShareNotFound):
            await sharing.follow(None, issued.token, 50, 0)
    await sharing.sweep()
    assert [row["id"] for row in await world.rows("SELECT id FROM chat.shares")] == [gone.share.id]
    assert await contents(sharing, None, gone.token)
    await world.conversations.delete(world.caller, chat_id)
    with pytest.raises(ShareNotFound):
        await sharing.follow(None, gone.token, 50, 0)
    assert await world.rows("SELECT FROM chat.shares") == []


async def test_only_its_owner_shares_a_chat_and_so_often(world: Any) -> None:
    chat_id, sharing = await asked(world), SharingService(world.transactions)
    issued = await sharing.share(world.caller, chat_id, "link", LIFE)
    for stranger in (world.new_caller(), world.new_caller(2)):
        for attempt in (
            sharing.share(stranger, chat_id, "link", LIFE),
            sharing.list_shares(stranger, chat_id, 9, None),
            sharing.revoke(stranger, chat_id, issued.share.id),
        ):
            with pytest.raises(ChatNotFound):
                await attempt
    empty = await world.conversations.create(world.caller, "Empty")
    with pytest.raises(NothingToShare):
        await sharing.share(world.caller, empty.id, "link", LIFE)
    await world.rows(
        "INSERT INTO chat.shares (id, tenant_id, chat_id, token_hash, audience, last_seq, expires_at) "
        "SELECT uuidv7(), 1, $1, uuidv7()::text::bytea, 'link', 1, now() + interval '1 h' FROM generate_series(2, $2)",
        chat_id,
        MOST_SHARES,
    )
    with pytest.raises(TooManyShares):
        await sharing.share(world.caller, chat_id, "link", timedelta(hours=1))


async def test_as_many_links_as_may_be_are_made_when_more_are_asked_for_at_once(world: Any) -> None:
    chat_id, sharing = await asked(world), SharingService(world.transactions)
    results = await asyncio.gather(
        *(sharing.share(world.caller, chat_id, "link", LIFE) for _ in range(MOST_SHARES + 10)), return_exceptions=True
    )
    assert [type(result) for result in results if isinstance(result, Exception)] == [TooManyShares] * 10
    assert len(await world.rows("SELECT FROM chat.shares")) == MOST_SHARES


async def test_an_answer_that_is_still_being_written_is_not_shared(world: Any) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["Two years [1].", "stop"], ["Secret", gate, " plans.", "stop"]]
    chat_id, sharing = (
        await asked(world, "How long is the warranty?", session_id="s"),
        SharingService(world.transactions),
    )
    answering = await world.asking.ask(world.caller, Question("What comes next?", session_id="s"))
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: live.log.texts)
    issued = await sharing.share(world.caller, chat_id, "link", LIFE)
    gate.set()
    await live.finished.wait()
    assert await contents(sharing, None, issued.token) == [
        "How long is the warranty?",
        "Two years [1].",
        "What comes next?",
    ]
