"""The repositories, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from docuchat_chat.answers.domain import Citation, Passage, Source
from docuchat_chat.conversations.domain import ChatChange, ChatFilter, MessageStatus
from docuchat_chat.conversations.ports import OpenedChat
from docuchat_chat.transaction import composer
from docuchat_chat.turns.domain import Outcome, Question, Settlement, Turn, TurnState
from docuchat_chat.turns.repository import LOCK_CLASS
from docuchat_common.db import UnitOfWork
from docuchat_common.db.presence import Presence
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId, ChunkId, DocumentId, MessageId, TenantId, TurnId, uuid7
from docuchat_common.metering import Used
from docuchat_models.spaces import EmbeddingSpace


def a_caller(tenant: int = 1) -> Caller:
    return Caller(TenantId(tenant), "user", uuid7(), "member")


def a_source() -> Source:
    return Source(1, Passage(ChunkId(uuid7()), DocumentId(uuid7()), "T", "t.pdf", 2, 3, "text", 0.25))


def a_turn(caller: Caller, chat: OpenedChat, source: Source) -> Turn:
    return Turn(
        id=TurnId(uuid7()),
        caller=caller,
        chat_id=chat.id,
        session_id=chat.session_id,
        user_message_id=MessageId(uuid7()),
        message_id=MessageId(uuid7()),
        model="gpt-4o-mini",
        provider="openai",
        provider_model="gpt-4o-mini",
        hold_id=None,
        prompt_tokens=42,
        owner="1",
        created_at=datetime.now(UTC),
        sources=(source,),
    )


WHY = Question("Why?", "gpt-4o-mini", tokens=2)


def an_outcome(source: Source, text: str = "It is so [1].") -> Outcome:
    passage = source.passage
    citation = Citation(1, passage.chunk_id, passage.document_id, "T", "t.pdf", 2, 3, "a quote", 0.25)
    return Outcome(
        state=TurnState.COMPLETED,
        text=text,
        frame_lengths=(3, len(text) - 3),
        finish_reason="stop",
        usage=Used(42, 7),
        finished_at=datetime.now(UTC),
        citations=(citation,),
        not_cited=(9,),
        text_tokens=7,
        tokenizer="o200k_base",
    )


@pytest_asyncio.fixture
async def transactions(database: Any) -> AsyncIterator[Any]:
    async with database.open("chat") as opened:
        yield UnitOfWork(opened, composer(EmbeddingSpace("openai", "text-embedding-3-small", 1536)), schema="chat")


class TestStores:
    async def test_a_turn_from_question_to_answer(self, transactions: Any) -> None:
        user, source = a_caller(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), "123", "The title")
            turn = a_turn(user, opened, source)
            await tx.turns.begin(turn, opened, WHY, "o200k_base")
        async with transactions(user.tenant_id) as tx:
            stored = await tx.turns.find(user.tenant_id, turn.id, user)
            assert stored.state is TurnState.RUNNING and stored.usage is None and stored.session_id == "123"
            assert stored.sources == (replace(source, passage=replace(source.passage, text="")),)
        outcome = an_outcome(source)
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.finish(turn, outcome, "owner-2") is Settlement.DONE
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.finish(turn, outcome, "owner-3") is Settlement.DONE_BEFORE
            done = await tx.turns.find(user.tenant_id, turn.id, user)
            nameless = replace(source.passage, text="", title="", filename="")
            assert done.sources == (replace(source, passage=nameless),)
            assert (done.state, done.owner, done.usage) == (TurnState.COMPLETED, "owner-2", Used(42, 7))
            assert done.frame_lengths == outcome.frame_lengths and done.finished_at == outcome.finished_at
            message = await tx.chats.find_message(user, turn.message_id)
            assert (message.content, message.citations, message.usage) == (
                outcome.text,
                outcome.citations,
                Used(42, 7),
            )
            assert message.metadata == {"finish_reason": "stop", "not_cited": [9]}
            chat = await tx.chats.find(user, session_key="123")
            assert (chat.title, chat.message_count) == ("The title", 2)
            history = await tx.chats.history(user, chat, chat.tree.head, 10)
            assert [(m.role, m.content, m.tokens) for m in history] == [
                ("user", "Why?", 2),
                ("assistant", outcome.text, 7),
            ]
            assert [m.seq for m in await tx.chats.messages(user, chat, chat.tree.all(), 10)] == [1, 2]
            assert [m.role for m in await tx.chats.messages(user, chat, chat.tree.all(1), 10)] == ["assistant"]

    async def test_a_session_is_one_chat_and_an_own_id_goes_first(self, transactions: Any) -> None:
        user, other = a_caller(), a_caller()
        async with transactions(user.tenant_id) as tx:
            first = await tx.chats.open(user, ChatId(uuid7()), "s", "a")
            again = await tx.chats.open(user, ChatId(uuid7()), "s", "b")
            assert again.id == first.id and again.answer_seq == first.answer_seq + 2
            assert (await tx.chats.open(other, ChatId(uuid7()), "s", "a")).id != first.id
            assert await tx.chats.find(other, chat_id=first.id) is None
            assert (await tx.chats.find(user, chat_id=first.id, session_key="x")).id == first.id
            assert await tx.chats.find(user, session_key="x") is None
            assert await tx.chats.change(other, first.id, ChatChange(title="stolen")) is None
            assert await tx.chats.delete(other, first.id) is None
            assert await tx.chats.add_message(other, first.id, MessageId(uuid7()), "x", {}) is None

    async def test_deleting_empties_the_chat_and_frees_its_session(self, transactions: Any) -> None:
        user, source = a_caller(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), "s", "a")
            done, running = a_turn(user, opened, source), a_turn(user, opened, source)
            await tx.turns.begin(done, opened, WHY, "o200k_base")
            await tx.turns.finish(done, an_outcome(source), "o")
            opened = await tx.chats.open(user, opened.id, None, "a")
            await tx.turns.begin(running, opened, WHY, "o200k_base")
        async with transactions(user.tenant_id) as tx:
            assert set(await tx.chats.delete(user, opened.id)) == {done.id, running.id}
        async with transactions(user.tenant_id) as tx:
            assert await tx.chats.find(user, chat_id=opened.id) is None
            assert await tx.turns.find(user.tenant_id, running.id, user) is None
            assert await tx.turns.finish(running, an_outcome(source), "o") is Settlement.CHAT_GONE
            assert await tx.turns.find(user.tenant_id, running.id, None) is None
            assert await tx.chats.find_message(user, running.message_id) is None
            assert (await tx.chats.open(user, ChatId(uuid7()), "s", "new")).id != opened.id

    async def test_pages_and_search(self, transactions: Any) -> None:
        user = a_caller()
        chats = []
        for title in ("eins", "zwei", "drei"):
            async with transactions(user.tenant_id) as tx:
                chats.append(await tx.chats.create(user, ChatId(uuid7()), title))
        async with transactions(user.tenant_id) as tx:
            await tx.chats.add_message(user, chats[0].id, MessageId(uuid7()), "كتاب ۱۰۰%", {"k": "v"})
        async with transactions(user.tenant_id) as tx:
            page = await tx.chats.page(user, 2, None, ChatFilter())
            assert [c.title for c in page] == ["eins", "drei"]
            rest = await tx.chats.page(user, 2, (False, page[-1].updated_at, page[-1].id), ChatFilter())
            assert [c.title for c in rest] == ["zwei"]
            for needle, title in (("کتاب 100%", "eins"), ("%", "eins"), ("wei", "zwei")):
                assert [c.title for c in await tx.chats.page(user, 9, None, ChatFilter(needle=needle))] == [title]

    async def test_orphans_are_turns_whose_process_holds_no_lock(self, transactions: Any, database: Any) -> None:
        user, source = a_caller(), a_source()
        async with Presence.open(database.url("chat"), LOCK_CLASS) as presence:
            async with transactions(user.tenant_id) as tx:
                opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
                turn = replace(a_turn(user, opened, source), owner=str(presence.process_id))
                await tx.turns.begin(turn, opened, WHY, "o200k_base")
            async with transactions.system() as tx:
                assert await tx.turns.orphans("0", (), 9) == [] and await tx.turns.is_alive(turn.owner)
        async with transactions.system() as tx:
            assert [(s.turn_id, s.tenant_id, s.owner) for s in await tx.turns.orphans("0", (), 9)] == [
                (turn.id, user.tenant_id, turn.owner)
            ]
            assert not await tx.turns.is_alive(turn.owner) and await tx.turns.count_open(turn.owner) == 1

    async def test_the_quotes_of_a_deleted_document_are_emptied_in_its_tenant_only(self, transactions: Any) -> None:
        source, messages = a_source(), []
        for user in (a_caller(1), a_caller(1), a_caller(2)):
            async with transactions(user.tenant_id) as tx:
                opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
                turn = a_turn(user, opened, source)
                await tx.turns.begin(turn, opened, WHY, "o200k_base")
                await tx.turns.finish(turn, an_outcome(source), "o")
                messages.append((user, turn.message_id))
        async with transactions(TenantId(1)) as tx:
            assert await tx.chats.mark_deleted(TenantId(1), DocumentId(uuid7())) == 0
            assert await tx.chats.mark_deleted(TenantId(1), source.passage.document_id) == 2
            assert await tx.chats.mark_deleted(TenantId(1), source.passage.document_id) == 0
        for user, message_id in messages:
            async with transactions(user.tenant_id) as tx:
                (citation,) = (await tx.chats.find_message(user, message_id)).citations
            emptied = user.tenant_id == 1
            words = (citation.title, citation.filename, citation.quote)
            assert (words, citation.deleted) == (
                (("", "", ""), True) if emptied else (("T", "t.pdf", "a quote"), False)
            )
            assert (citation.number, citation.page) == (1, 2)

    async def test_what_is_past_its_life_goes_and_nothing_else(self, transactions: Any, database: Any) -> None:
        user, source = a_caller(), a_source()
        chats = []
        for _ in range(3):
            async with transactions(user.tenant_id) as tx:
                opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
                turn = a_turn(user, opened, source)
                await tx.turns.begin(turn, opened, WHY, "o200k_base")
                chats.append((opened.id, turn))
        kept, deleted, running = chats
        async with transactions(user.tenant_id) as tx:
            for _, turn in (kept, deleted):
                await tx.turns.finish(turn, an_outcome(source), "o")
            await tx.chats.delete(user, deleted[0])
            await tx.chats.delete(user, running[0])
        async with database.connect() as admin:
            await admin.execute("UPDATE chat.chats SET deleted_at = deleted_at - interval '1 hour'")
        never, day = timedelta(days=9), timedelta(days=1)
        async with transactions.system() as tx:
            assert await tx.turns.purge(turns_after=never, chats_after=None, limit=9) == 1
            assert await tx.turns.purge(turns_after=never, chats_after=day, limit=9) == 0
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.finish(running[1], an_outcome(source), "o") is Settlement.CHAT_GONE
        async with transactions.system() as tx:
            assert await tx.turns.purge(turns_after=never, chats_after=None, limit=9) == 1
        async with database.connect() as admin:
            assert [r["id"] for r in await admin.fetch("SELECT id FROM chat.chats")] == [kept[0]]
            assert await admin.fetchval("SELECT count(*) FROM chat.turns") == 1
            assert await admin.fetchval("SELECT count(*) FROM chat.messages") == 2
            await admin.execute("UPDATE chat.chats SET updated_at = updated_at - interval '2 days'")
        async with transactions.system() as tx:
            assert await tx.turns.purge(turns_after=never, chats_after=day, limit=9) == 1
        async with database.connect() as admin:
            assert await admin.fetchval("SELECT count(*) FROM chat.messages") == 0

    async def test_an_error_rolls_back(self, transactions: Any) -> None:
        user = a_caller()
        with pytest.raises(ZeroDivisionError):
            async with transactions(user.tenant_id) as tx:
                await tx.chats.create(user, ChatId(uuid7()), "gone")
                raise ZeroDivisionError
        async with transactions(user.tenant_id) as tx:
            assert await tx.chats.page(user, 9, None, ChatFilter()) == []

    async def test_a_failed_answer_is_kept_empty(self, transactions: Any) -> None:
        user, source = a_caller(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
            turn = a_turn(user, opened, source)
            await tx.turns.begin(turn, opened, WHY, "o200k_base")
            failed = Outcome(
                TurnState.FAILED,
                "",
                (),
                "error",
                None,
                datetime.now(UTC),
                error_code="provider_error",
                error_message="No.",
            )
            assert await tx.turns.finish(turn, failed, "o")
        async with transactions(user.tenant_id) as tx:
            message = await tx.chats.find_message(user, turn.message_id)
            assert message.status is MessageStatus.FAILED and message.usage is None
            chat = await tx.chats.find(user, chat_id=opened.id)
            assert len(await tx.chats.history(user, chat, chat.tree.head, 9)) == 1
            assert (await tx.turns.find(user.tenant_id, turn.id, None)).error_code == "provider_error"
