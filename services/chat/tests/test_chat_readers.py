"""Answers rest on what the asker may read, and a chat is its owner's alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from docuchat_chat.answers.snapshots import citation_fields
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_common.ids import ChatId, TurnId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.spaces import EmbeddingSpace
from docuchat_testkit.eventually import eventually


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


WORDS = ("title", "filename", "quote")


@pytest.mark.parametrize("process", ["the same", "another"])
async def test_no_words_of_a_document_that_the_reader_lost_are_shown_again(world: Any, process: str) -> None:
    """Neither in the chat, nor by a repeated question, nor when the stream is resumed: citations as well as sources."""
    collection = await restrict(world)
    await admit(world, collection, world.caller.subject_id)
    frames = await world.ask(key="k")
    chat, turn = ChatId(UUID(frames[0]["chat_id"])), TurnId(UUID(frames[0]["turn_id"]))
    after = await world.other_process() if process == "another" else world

    async def shown() -> list[dict[str, Any]]:
        conversation = await after.conversations.get(world.caller, chat, 10, 0)
        cited = [citation_fields(citation) for citation in conversation.messages[-1].citations]
        resumed = await after.collect(await after.replay.resume(world.caller, turn, 0))
        repeated = await after.ask(key="k")
        told = [part for f in (*resumed, *repeated) for part in (f.get("sources", ()), f.get("citations", ()))]
        assert [len(part) for part in told if part] == [2, 1] * 2, "sources and citations, resumed and repeated"
        return [*cited, *(reference for part in told for reference in part)]

    for reference in await shown():
        assert reference["title"] == "Handbook" and reference.get("quote", "The") and "deleted" not in reference
    await world.rows("DELETE FROM knowledge.collection_members")
    for reference in await shown():
        assert [reference.get(word, "") for word in WORDS] == ["", "", ""] and reference["deleted"] is True
    await admit(world, collection, world.caller.subject_id)  # nothing was taken from the store
    for reference in await shown():
        assert reference["filename"] == "Handbook.pdf" and "deleted" not in reference
    assert "Handbook" not in str(await world.rows("SELECT sources FROM chat.turns"))


async def test_who_loses_a_document_while_its_answer_is_written_is_told_no_words_of_it(world: Any) -> None:
    collection = await restrict(world)
    await admit(world, collection, world.caller.subject_id)
    world.model.scripts = [["The warranty lasts two years [1].", asyncio.Event(), "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"), key="k", attach=True)
    live = world.registry.turns[answering.turn.id]
    await eventually(lambda: bool(live.log.texts))
    await world.rows("DELETE FROM knowledge.collection_members")
    again = await world.asking.ask(world.caller, Question("How long is the warranty?"), key="k", attach=True)
    readers = [answering.events(0), again.events(-1), await world.replay.resume(world.caller, answering.turn.id, 0)]
    world.model.scripts[0][1].set()
    for events in readers:
        for frame in await world.collect(events):
            for reference in (*frame.get("citations", ()), *frame.get("sources", ())):
                assert [reference.get(word, "") for word in WORDS] == ["", "", ""] and reference["deleted"] is True
    (row,) = await world.rows("SELECT citations FROM chat.messages WHERE id = $1", live.turn.message_id)
    (kept,) = orjson.loads(row["citations"])
    assert kept["quote"] and "deleted" not in kept, "the right to it may come back"


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
