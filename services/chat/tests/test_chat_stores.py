"""The repositories and the board, on the real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis

from docuchat_chat.adapters.redis_board import RedisTurnBoard
from docuchat_chat.answers.domain import Asker, Citation, Passage, Source
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_chat.transaction import composer
from docuchat_chat.turns.domain import NewTurn, Outcome, TurnState
from docuchat_chat.turns.live import TurnLog
from docuchat_common.db import UnitOfWork
from docuchat_common.ids import ChatId, ChunkId, DocumentId, MessageId, TenantId, TurnId, UserId, uuid7
from docuchat_models.chat import TokenUsage
from docuchat_models.spaces import EmbeddingSpace


def asker(tenant: int = 1) -> Asker:
    return Asker(TenantId(tenant), UserId(uuid7()))


def a_source() -> Source:
    return Source(1, Passage(ChunkId(uuid7()), DocumentId(uuid7()), "T", "t.pdf", 2, 3, "text", 0.25))


def a_turn(chat_id: ChatId) -> NewTurn:
    return NewTurn(
        TurnId(uuid7()), chat_id, MessageId(uuid7()), MessageId(uuid7()), "gpt-4o-mini", "openai", None, 42, "owner-1"
    )


def an_outcome(source: Source, text: str = "It is so [1].") -> Outcome:
    passage = source.passage
    citation = Citation(1, passage.chunk_id, passage.document_id, "T", "t.pdf", 2, 3, "a quote", 0.25)
    return Outcome(
        state=TurnState.COMPLETED,
        text=text,
        frame_lengths=(3, len(text) - 3),
        finish_reason="stop",
        usage=TokenUsage(42, 7),
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
        user, source = asker(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), "123", "The title")
            turn = a_turn(opened.id)
            await tx.turns.begin(user, turn, opened, "Why?", 2, "o200k_base", [source])
        async with transactions(user.tenant_id) as tx:
            stored = await tx.turns.find(user.tenant_id, turn.id, user.user_id)
            assert stored.state is TurnState.RUNNING and stored.usage is None and stored.session_id == "123"
            assert stored.sources == (replace(source, passage=replace(source.passage, text="")),)
        outcome = an_outcome(source)
        now = datetime.now(UTC)
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.finish(user.tenant_id, turn.id, outcome, "owner-2", now)
        async with transactions(user.tenant_id) as tx:
            assert not await tx.turns.finish(user.tenant_id, turn.id, outcome, "owner-3", now)
            done = await tx.turns.find(user.tenant_id, turn.id, user.user_id)
            assert (done.state, done.owner, done.usage) == (TurnState.COMPLETED, "owner-2", TokenUsage(42, 7))
            assert done.frame_lengths == outcome.frame_lengths and done.finished_at == now
            message = await tx.chats.find_message(user, turn.message_id)
            assert (message.content, message.citations, message.usage) == (
                outcome.text,
                outcome.citations,
                TokenUsage(42, 7),
            )
            assert message.metadata == {"finish_reason": "stop", "not_cited": [9]}
            chat = await tx.chats.find(user, session_key="123")
            assert (chat.title, chat.message_count) == ("The title", 2)
            history = await tx.chats.history(user, chat.id, 10)
            assert [(m.role, m.content, m.tokens) for m in history] == [
                ("user", "Why?", 2),
                ("assistant", outcome.text, 7),
            ]
            assert [m.seq for m in await tx.chats.messages(user, chat.id, 10, 0)] == [1, 2]
            assert [m.role for m in await tx.chats.messages(user, chat.id, 10, 1)] == ["assistant"]

    async def test_a_session_is_one_chat_and_an_own_id_goes_first(self, transactions: Any) -> None:
        user, other = asker(), asker()
        async with transactions(user.tenant_id) as tx:
            first = await tx.chats.open(user, ChatId(uuid7()), "s", "a")
            again = await tx.chats.open(user, ChatId(uuid7()), "s", "b")
            assert again.id == first.id and again.question_seq == first.question_seq + 2
            assert (await tx.chats.open(other, ChatId(uuid7()), "s", "a")).id != first.id
            assert await tx.chats.find(other, chat_id=first.id) is None
            assert (await tx.chats.find(user, chat_id=first.id, session_key="x")).id == first.id
            assert await tx.chats.find(user, session_key="x") is None
            assert await tx.chats.rename(other, first.id, "stolen") is None
            assert await tx.chats.delete(other, first.id) is None
            assert await tx.chats.add_message(other, first.id, MessageId(uuid7()), "x", {}) is None

    async def test_deleting_empties_the_chat_and_frees_its_session(self, transactions: Any) -> None:
        user, source = asker(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), "s", "a")
            done, running = a_turn(opened.id), a_turn(opened.id)
            await tx.turns.begin(user, done, opened, "Why?", 2, "o200k_base", [source])
            await tx.turns.finish(user.tenant_id, done.id, an_outcome(source), "o", datetime.now(UTC))
            opened = await tx.chats.open(user, opened.id, None, "a")
            await tx.turns.begin(user, running, opened, "And?", 2, "o200k_base", [source])
        async with transactions(user.tenant_id) as tx:
            assert set(await tx.chats.delete(user, opened.id)) == {done.id, running.id}
        async with transactions(user.tenant_id) as tx:
            assert await tx.chats.find(user, chat_id=opened.id) is None
            assert await tx.turns.find(user.tenant_id, running.id, user.user_id) is None
            assert await tx.turns.finish(user.tenant_id, running.id, an_outcome(source), "o", datetime.now(UTC))
            assert await tx.chats.find_message(user, running.message_id) is None
            assert (await tx.chats.open(user, ChatId(uuid7()), "s", "new")).id != opened.id

    async def test_pages_and_search(self, transactions: Any) -> None:
        user = asker()
        chats = []
        for title in ("eins", "zwei", "drei"):
            async with transactions(user.tenant_id) as tx:
                chats.append(await tx.chats.create(user, ChatId(uuid7()), title))
        async with transactions(user.tenant_id) as tx:
            await tx.chats.add_message(user, chats[0].id, MessageId(uuid7()), "كتاب ۱۰۰%", {"k": "v"})
        async with transactions(user.tenant_id) as tx:
            page = await tx.chats.page(user, 2, None, None)
            assert [c.title for c in page] == ["eins", "drei"]
            rest = await tx.chats.page(user, 2, (page[-1].updated_at, page[-1].id), None)
            assert [c.title for c in rest] == ["zwei"]
            assert [c.title for c in await tx.chats.page(user, 9, None, "کتاب 100%")] == ["eins"]
            assert await tx.chats.page(user, 9, None, "%") == [page[0]]
            assert [c.title for c in await tx.chats.page(user, 9, None, "wei")] == ["zwei"]

    async def test_an_idempotency_key_has_one_holder(self, transactions: Any) -> None:
        user, turn, other = asker(), TurnId(uuid7()), TurnId(uuid7())
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.claim_key(user, "k", "hash", turn) is None
        async with transactions(user.tenant_id) as tx:
            holder = await tx.turns.claim_key(user, "k", "other", other)
            assert (holder.turn_id, holder.request_hash) == (turn, "hash") and holder.age < timedelta(minutes=1)
            assert await tx.turns.claim_key(asker(), "k", "hash", other) is None
            await tx.turns.release_key(user, turn)
            assert await tx.turns.claim_key(user, "k", "other", other) is None
        async with transactions.system() as tx:
            await tx.turns.forget_keys(timedelta(0))
        async with transactions(user.tenant_id) as tx:
            assert await tx.turns.claim_key(user, "k", "hash", turn) is None

    async def test_stale_turns_are_those_without_a_sign_of_life(self, transactions: Any) -> None:
        user, source = asker(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
            turn = a_turn(opened.id)
            await tx.turns.begin(user, turn, opened, "Why?", 2, "o200k_base", [source])
        async with transactions.system() as tx:
            assert [(s.turn_id, s.tenant_id, s.owner) for s in await tx.turns.stale(timedelta(0), 9)] == [
                (turn.id, user.tenant_id, "owner-1")
            ]
        async with transactions.system() as tx:
            await tx.turns.heartbeat([turn.id])
            assert await tx.turns.stale(timedelta(minutes=1), 9) == []

    async def test_an_error_rolls_back(self, transactions: Any) -> None:
        user = asker()
        with pytest.raises(ZeroDivisionError):
            async with transactions(user.tenant_id) as tx:
                await tx.chats.create(user, ChatId(uuid7()), "gone")
                raise ZeroDivisionError
        async with transactions(user.tenant_id) as tx:
            assert await tx.chats.page(user, 9, None, None) == []

    async def test_a_failed_answer_is_kept_empty(self, transactions: Any) -> None:
        user, source = asker(), a_source()
        async with transactions(user.tenant_id) as tx:
            opened = await tx.chats.open(user, ChatId(uuid7()), None, "a")
            turn = a_turn(opened.id)
            await tx.turns.begin(user, turn, opened, "Why?", 2, "o200k_base", [source])
            failed = Outcome(TurnState.FAILED, "", (), "error", None, error_code="provider_error", error_message="No.")
            assert await tx.turns.finish(user.tenant_id, turn.id, failed, "o", datetime.now(UTC))
        async with transactions(user.tenant_id) as tx:
            message = await tx.chats.find_message(user, turn.message_id)
            assert message.status is MessageStatus.FAILED and message.usage is None
            assert len(await tx.chats.history(user, opened.id, 9)) == 1
            assert (await tx.turns.find(user.tenant_id, turn.id, None)).error_code == "provider_error"


@dataclass
class Boards:
    """Two processes' views of one board."""

    here: Any
    there: Any


@pytest_asyncio.fixture
async def boards(redis_url: str) -> AsyncIterator[Boards]:
    async with AsyncExitStack() as stack:
        both = []
        for _ in range(2):
            client = redis.Redis.from_url(redis_url, protocol=2)
            stack.push_async_callback(client.aclose)
            both.append(RedisTurnBoard(client, silence=timedelta(milliseconds=20)))
        yield Boards(*both)


class TestBoards:
    async def test_a_follower_gets_every_frame_once_from_any_place(self, boards: Boards) -> None:
        log = TurnLog(TenantId(1), TurnId(uuid7()), b"opening")

        async def follow(after: int) -> list[tuple[int, bytes, bool]]:
            found = []
            async for number, frame, last in boards.there.read(log.tenant_id, log.turn_id, after):
                if number >= 0:
                    found.append((number, frame, last))
                if last:
                    return found
            raise AssertionError

        followers = [asyncio.create_task(follow(after)) for after in (-1, 0, 2, 4)]
        boards.here.publish(log)
        await boards.here.copy()
        log.accepted = True
        boards.here.publish(log)
        await boards.here.copy()
        for text in ("a", "b", "c"):
            log.append(text)
        boards.here.publish(log)
        await boards.here.copy()
        boards.here.publish(log)
        await boards.here.copy()
        log.append("d")
        log.close(b"end")
        boards.here.publish(log)
        await boards.here.copy()
        everything = [(i, frame, i == 5) for i, frame in enumerate([*log.frames])]
        for after, follower in zip((-1, 0, 2, 4), followers, strict=True):
            assert await asyncio.wait_for(follower, 5) == everything[after + 1 :]
        assert await asyncio.wait_for(follow(1), 5) == everything[2:]

    async def test_what_a_dead_process_had_published_is_received(self, boards: Boards) -> None:
        log = TurnLog(TenantId(1), TurnId(uuid7()), b"opening")
        boards.here.publish(log)
        await boards.here.copy()
        received = await boards.there.received(log.tenant_id, log.turn_id)
        assert (received.pieces, received.accepted, received.finished) == ([], False, False)
        log.accepted = True
        boards.here.publish(log)
        await boards.here.copy()
        assert (await boards.there.received(log.tenant_id, log.turn_id)).accepted
        log.append("می‌شود ")
        log.append('"x"\n')
        boards.here.publish(log)
        await boards.here.copy()
        received = await boards.there.received(log.tenant_id, log.turn_id)
        assert received.pieces == ["می‌شود ", '"x"\n'] and not received.finished
        await boards.there.close(log.tenant_id, log.turn_id, 3, b"error")
        assert (await boards.here.received(log.tenant_id, log.turn_id)).finished
        await boards.there.forget(log.tenant_id, [log.turn_id])
        assert (await boards.here.received(log.tenant_id, log.turn_id)).pieces == []

    async def test_life(self, boards: Boards) -> None:
        assert not await boards.there.is_alive("process")
        await boards.here.show_life("process")
        assert await boards.there.is_alive("process")
