"""Answers rest on what the asker may read, and a chat is its owner's alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_common.ids import ChatId, TurnId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace


async def restrict(world: Any) -> UUID:
    """Put all that the tenant has into a collection that nobody is a member of yet."""
    collection = uuid7()
    await world.rows(
        "INSERT INTO knowledge.collections"
        " (id, tenant_id, name, is_default, visibility, chunk_count, term_total, languages)"
        " SELECT $1, tenant_id, 'Board', false, 'restricted', chunk_count, term_total, languages"
        " FROM knowledge.collections WHERE is_default",
        collection,
    )
    await world.rows("UPDATE knowledge.documents SET collection_id = $1", collection)
    await world.rows("UPDATE knowledge.chunks SET collection_id = $1", collection)
    await world.rows("UPDATE knowledge.chunk_vectors SET collection_id = $1", collection)
    await world.rows("UPDATE knowledge.collections SET chunk_count = 0, term_total = 0 WHERE is_default")
    return collection


async def admit(world: Any, collection: UUID, member: UUID) -> None:
    await world.rows("INSERT INTO knowledge.collection_members VALUES ($1, $2, 1, 'read')", collection, member)


async def test_only_members_of_a_restricted_collection_are_answered_from_it(world: Any) -> None:
    collection, group = await restrict(world), uuid7()
    (document,) = await world.rows("SELECT id FROM knowledge.documents")
    assert (await world.ask())[-1]["finish_reason"] == "no_sources"
    assert (await world.search.search(world.caller, "warranty", 5, None)).passages == ()
    for question, error in (
        (Question("How long?", document_ids=(UUID(str(document["id"])),)), DocumentNotFound),
        (Question("How long?", collection_id=collection), CollectionNotFound),
    ):
        with pytest.raises(error):
            await world.asking.ask(world.caller, question)
    assert world.model.requests == []
    await admit(world, collection, group)
    world.caller = replace(world.caller, groups=frozenset([group]))
    assert (await world.ask())[-1]["citations"] != []
    assert (await world.search.search(world.caller, "warranty", 5, None)).passages != ()


async def test_a_reader_is_told_of_his_own_documents_outdated_vectors_whoever_asked_before(world: Any) -> None:
    collection = await restrict(world)
    await admit(world, collection, world.caller.subject_id)
    async with world.database.connect("docuchat_owner") as owner:
        await ensure_space(owner, EmbeddingSpace("test", "better", 4))
    assert (await world.search.search(world.new_caller(), "warranty", 5, None)).notice is None
    assert (await world.search.search(world.caller, "warranty", 5, None)).notice is not None
    assert (await world.search.search(world.new_caller(), "warranty", 5, None)).notice is None


async def test_quotes_of_a_document_that_the_reader_lost_are_not_shown_again(world: Any) -> None:
    collection = await restrict(world)
    await admit(world, collection, world.caller.subject_id)
    frames = await world.ask(key="k")
    chat, turn = ChatId(UUID(frames[0]["chat_id"])), TurnId(UUID(frames[0]["turn_id"]))

    async def shown(process: Any) -> list[Any]:
        conversation = await process.conversations.get(world.caller, chat, 10, 0)
        (resumed,) = [
            f for f in await process.collect(await process.replay.resume(world.caller, turn, 0)) if "citations" in f
        ]
        (repeated,) = [f for f in await process.ask(key="k") if "citations" in f]
        cited = [(c.quote, c.deleted) for c in conversation.messages[-1].citations]
        return [cited, *([(c["quote"], c.get("deleted", False)) for c in f["citations"]] for f in (resumed, repeated))]

    restarted = await world.other_process()
    for cited in await shown(restarted):
        assert cited and all(quote and not deleted for quote, deleted in cited)
    await world.rows("DELETE FROM knowledge.collection_members")
    for cited in await shown(restarted):
        assert cited and all(not quote and deleted for quote, deleted in cited)
    await admit(world, collection, world.caller.subject_id)  # nothing was taken from the store
    for cited in await shown(restarted):
        assert all(quote for quote, _ in cited)


@pytest.mark.parametrize("role", ["member", "admin", "owner"])
async def test_nobody_else_finds_a_chat_whatever_the_role(world: Any, role: str) -> None:
    frames = await world.ask("How long is the warranty?", session_id="mine", key="k")
    chat, turn = ChatId(UUID(frames[0]["chat_id"])), TurnId(UUID(frames[0]["turn_id"]))
    other = replace(world.new_caller(), role=role)
    for process in (world, await world.other_process()):
        chats = process.conversations
        assert await chats.list_chats(other, 10, None, None) == []
        assert await chats.list_chats(other, 10, None, "warranty") == []
        for attempt in (
            chats.get(other, chat, 10, 0),
            chats.rename(other, chat, "Theirs"),
            chats.delete(other, chat),
            chats.add_message(other, chat, "hello", {}),
            process.asking.ask(other, Question("And then?", chat_id=chat)),
        ):
            with pytest.raises(ChatNotFound):
                await attempt
        for attempt in (process.replay.resume(other, turn, 0), process.replay.stop(other, turn)):
            with pytest.raises(TurnNotFound):
                await attempt
    before = len(world.model.requests)
    for fields in ({"session_id": "mine"}, {"key": "k"}):  # of the other's own: another chat, another request
        answering = await world.asking.ask(
            other, Question("And then?", **{k: v for k, v in fields.items() if k != "key"}), key=fields.get("key")
        )
        assert answering.turn.chat_id != chat
        await answering.result()
    assert len(world.model.requests) == before + 2
    assert [c.title for c in await world.conversations.list_chats(world.caller, 10, None, None)] == [
        "How long is the warranty?"
    ]
