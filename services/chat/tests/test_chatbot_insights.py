"""What who manages a chatbot sees of its use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest

from docuchat_chat.chatbots.domain import NewChatbot
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.insights.domain import Opinions
from docuchat_chat.insights.schemas import InsightsView
from docuchat_chat.insights.service import InsightService
from docuchat_common.clock import SystemClock
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.db.queries import load_queries
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, TenantId, uuid7
from docuchat_knowledge.folding import fold


def today() -> datetime:
    """The beginning of the day; asked by each test, since a run may last beyond midnight."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass
class Asked:
    """Writes what was asked of one chatbot, as turns would have."""

    world: Any
    chatbot_id: ChatbotId
    seq: int = 0

    async def chat(
        self, subject_type: str, subject_id: UUID, *, used: datetime, branches: tuple[tuple[int, int], ...] = ()
    ) -> UUID:
        chat_id = uuid7()
        await self.world.rows(
            "INSERT INTO chat.chats (id, tenant_id, subject_type, subject_id, title, chatbot_id, updated_at, branches) "
            "VALUES ($1, 1, $2, $3, 'Shoes', $4, $5, $6)",
            chat_id,
            subject_type,
            subject_id,
            self.chatbot_id,
            used,
            list(map(list, branches)),
        )
        self.seq = 0
        return chat_id

    async def message(
        self,
        chat_id: UUID,
        role: str,
        text: str,
        at: datetime,
        *,
        status: str = "complete",
        cites: int = 0,
        **metadata: Any,
    ) -> UUID:
        message_id, self.seq = uuid7(), self.seq + 1
        usage = '{"input_tokens": 10, "output_tokens": 2, "estimated": false}' if role == "assistant" else None
        await self.world.rows(
            "INSERT INTO chat.messages "
            "(id, tenant_id, chat_id, seq, role, content, content_key, status, usage, metadata, created_at, citations) "
            "VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            message_id,
            chat_id,
            self.seq,
            role,
            text,
            fold(text),
            status,
            usage,
            orjson.dumps(metadata).decode(),
            at,
            orjson.dumps([{"number": number + 1} for number in range(cites)]).decode(),
        )
        await self.world.rows("UPDATE chat.chats SET last_seq = $2 WHERE id = $1", chat_id, self.seq)
        return message_id

    async def turn(
        self, chat_id: UUID, question: str, at: datetime, reason: str, version: int = 1, **answer: Any
    ) -> UUID:
        await self.message(chat_id, "user", question, at)
        return await self.message(
            chat_id, "assistant", "…", at, finish_reason=reason, chatbot_version=version, **answer
        )


@pytest.fixture
async def asked(bare_world: Any) -> Asked:
    chatbot_id = ChatbotId(uuid7())
    async with bare_world.transactions(TenantId(1)) as tx:
        await tx.chatbots.add(TenantId(1), chatbot_id, NewChatbot("Shop"))
    return Asked(bare_world, chatbot_id)


async def test_use_is_counted_by_day_and_version_and_what_found_nothing_is_named(asked: Asked) -> None:
    manager = replace(asked.world.caller, role="admin")
    visitor, yesterday = uuid7(), today() - timedelta(days=1)
    first = await asked.chat("visitor", visitor, used=today())
    await asked.turn(first, "Do you sell hats?", yesterday, "no_sources")
    good = await asked.turn(first, "Do you sell shoes?", today(), "stop", version=2, cites=1)
    # asked anew beside the first question: its answer follows that question
    second = await asked.chat("user", manager.subject_id, used=today(), branches=((3, 1),))
    await asked.turn(second, "DO YOU SELL HATS?", today(), "no_citations", version=2)
    await asked.message(second, "assistant", "…", today(), finish_reason="no_sources", chatbot_version=2)
    old = await asked.chat("visitor", visitor, used=today() - timedelta(days=9))
    await asked.turn(old, "Old?", today() - timedelta(days=9), "no_sources")
    for rating, text in (("up", None), ("down", "Wrong size.")):
        await asked.world.rows(
            "INSERT INTO chat.feedback (tenant_id, message_id, subject_type, subject_id, rating, text) "
            "VALUES (1, $1, 'visitor', $2, $3, $4)",
            good,
            uuid7(),
            rating,
            text,
        )
    insights = InsightService(asked.world.transactions, SystemClock())
    found = await insights.get(manager, asked.chatbot_id, 7)
    assert (found.chats, found.askers) == (2, 2)
    assert [(each.day, each.version, each.answers, each.unanswered, each.input_tokens) for each in found.use] == [
        (yesterday.date(), 1, 1, 1, 10),
        (today().date(), 2, 3, 2, 30),
    ]
    (hats,) = found.unanswered
    assert (hats.question, hats.times, hats.chat_id) == ("DO YOU SELL HATS?", 3, second)
    assert found.opinions == [Opinions("down", None, 1), Opinions("up", None, 1)]
    assert [comment.text for comment in found.comments] == ["Wrong size."]
    assert (await insights.get(manager, asked.chatbot_id, 1)).use == found.use[1:]
    InsightsView.of(found)
    with pytest.raises(ChatbotNotFound):
        await insights.get(replace(manager, tenant_id=TenantId(2)), asked.chatbot_id, 7)


async def test_an_answer_that_cites_nothing_found_nothing_whatever_it_says(asked: Asked) -> None:
    chat = await asked.chat("visitor", uuid7(), used=today())
    for question, reason, answer in (
        ("The model says that it knows nothing", "stop", {}),
        ("Cut off", "length", {}),
        ("Nothing to answer from", "no_sources", {}),
        ("Cited nothing where it must", "no_citations", {}),
        ("From a document", "stop", {"cites": 1}),
        ("The model's own", "stop", {"own_knowledge": ["Hats are worn."]}),
        ("Stopped by who asked", "stopped", {"status": "stopped"}),
        ("The provider was gone", "error", {"status": "interrupted"}),
        ("Held back by the provider", "content_filter", {}),
        ("Hello!", "conversational", {}),
    ):
        await asked.turn(chat, question, today(), reason, **answer)
    found = await InsightService(asked.world.transactions, SystemClock()).get(
        replace(asked.world.caller, role="admin"), asked.chatbot_id, 1
    )
    assert {each.question for each in found.unanswered} == {
        "The model says that it knows nothing",
        "Cut off",
        "Nothing to answer from",
        "Cited nothing where it must",
    }
    assert [(each.answers, each.unanswered) for each in found.use] == [(10, 4)]


async def test_what_one_chatbot_was_asked_is_read_by_indexes_however_much_others_were(asked: Asked) -> None:
    await asked.world.rows(
        "INSERT INTO chat.chats (id, tenant_id, subject_type, subject_id, chatbot_id, last_seq) "
        "SELECT gen_random_uuid(), 1, 'visitor', gen_random_uuid(), CASE WHEN n % 100 = 0 THEN $1::uuid "
        "ELSE ('00000000-0000-4000-8000-' || lpad((n % 100)::text, 12, '0'))::uuid END, 20 "
        "FROM generate_series(1, 5000) n",
        asked.chatbot_id,
    )
    await asked.world.rows(
        "INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, status, metadata) "
        "SELECT gen_random_uuid(), 1, c.id, n, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'assistant' END, 'm', '', "
        "'complete', "
        '\'{"finish_reason": "no_sources"}\' FROM chat.chats c, generate_series(1, 20) n'
    )
    await asked.world.rows(
        "INSERT INTO chat.feedback (tenant_id, message_id, subject_type, subject_id, rating, created_at) "
        "SELECT 1, id, 'visitor', gen_random_uuid(), 'up', now() - seq * interval '1 day' FROM chat.messages "
        "WHERE role = 'assistant' AND seq % 5 = 0"
    )
    await asked.world.rows("ANALYZE chat.chats, chat.messages, chat.feedback")
    queries: Any = load_queries("docuchat_chat.insights")
    whose = {"tenant_id": 1, "chatbot_id": asked.chatbot_id}
    since, page = {"since": today() - timedelta(days=1)}, {"row_limit": 50}
    for name, own, index in (
        ("list_chats", page | {"before_time": None, "before_id": None}, "chats_by_chatbot"),
        ("list_chats", page | {"before_time": today(), "before_id": uuid7()}, "chats_by_chatbot"),
        ("count_askers", since, "chats_by_chatbot"),
        ("use_by_day", since, "messages_chat_id_seq"),
        ("unanswered", since | page, "messages_chat_id_seq"),
        ("opinions", since, "feedback_by_time"),
        ("comments", since | page, "feedback_by_time"),
    ):
        plan = await asked.world.explain(queries, name, **whose, **own)
        assert index in plan and "Seq Scan" not in plan, plan


async def test_chats_of_all_who_asked_are_read_by_who_manages_the_chatbot(asked: Asked) -> None:
    manager = replace(asked.world.caller, role="admin")
    insights = InsightService(asked.world.transactions, SystemClock())
    visits = [await asked.chat("visitor", uuid7(), used=today() - timedelta(hours=hours)) for hours in range(3)]
    await asked.turn(visits[2], "Hello?", today(), "stop")
    own = await asked.world.rows(
        "INSERT INTO chat.chats (id, tenant_id, subject_type, subject_id) "
        "VALUES (uuidv7(), 1, 'user', $1) RETURNING id",
        uuid7(),
    )
    page = await insights.list_chats(manager, asked.chatbot_id, 2, None)
    assert [chat.id for chat in page] == visits[:2] and page[0].owner.subject_type == "visitor"
    rest = await insights.list_chats(manager, asked.chatbot_id, 2, (page[1].updated_at, page[1].id))
    assert [chat.id for chat in rest] == visits[2:]
    found = await insights.get_chat(manager, asked.chatbot_id, rest[0].id, 10, 0)
    assert [message.content for message in found.messages] == ["Hello?", "…"]
    with pytest.raises(ChatNotFound):  # a chat without the chatbot is private
        await insights.get_chat(manager, asked.chatbot_id, own[0]["id"], 10, 0)
    other: Caller = replace(manager, tenant_id=TenantId(2))
    with pytest.raises(ChatbotNotFound):
        await insights.get_chat(other, asked.chatbot_id, rest[0].id, 10, 0)
    with pytest.raises(ChatbotNotFound):
        await insights.list_chats(other, asked.chatbot_id, 2, None)
