"""Chatbots and their versions as they are stored."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.setup import AnswerPolicy
from docuchat_chat.chatbots.domain import Change, Colours, Config, NewChatbot, changes_between
from docuchat_chat.chatbots.errors import ChatbotNotPublished, ChatbotVersionNotFound
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_chat.transaction import composer
from docuchat_common.clock import SystemClock
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.db import UnitOfWork
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, CollectionId, TenantId, uuid7
from docuchat_models.spaces import EmbeddingSpace

fakes = sys.modules["chat_fakes"]
MODELS = EnvironmentModels(fakes.ScriptedModel(), "openai", ("gpt-4o",))
TENANT, OTHER = TenantId(1), TenantId(2)
WHOLE = Config(
    collections=(CollectionId(uuid7()),),
    system_prompt="You sell shoes.",
    model="gpt-4o",
    fallback_model="openai/gpt-4o",
    temperature=0.5,
    top_k=4,
    language="fa",
    nothing_found="چیزی پیدا نشد.",
    answer_policy=AnswerPolicy(own_knowledge=True, citations_required=True, refused_subjects=("politics",)),
    greeting="سلام",
    suggested_questions=("How much?", "Which size?"),
    colours=Colours(accent="#112233"),
)


@pytest_asyncio.fixture
async def transactions(database: Any) -> AsyncIterator[Any]:
    async with database.open("chat") as opened:
        yield UnitOfWork(opened, composer(EmbeddingSpace("openai", "text-embedding-3-small", 1536)), schema="chat")


async def a_chatbot(transactions: Any, config: Config = WHOLE) -> ChatbotId:
    chatbot_id = ChatbotId(uuid7())
    async with transactions(TENANT) as tx:
        await tx.chatbots.add(TENANT, chatbot_id, NewChatbot("Shop", config=config))
    return chatbot_id


async def publish(transactions: Any, chatbot_id: ChatbotId, config: Config) -> int:
    async with transactions(TENANT) as tx:
        edited = await tx.chatbots.find_edited(TENANT, chatbot_id, lock=True)
        version = await tx.chatbots.publish(edited.chatbot, config, None)
        return int(version.number)


async def test_a_question_finds_what_is_live_and_who_manages_every_version(transactions: Any, manager: Caller) -> None:
    caller = manager
    chatbots = ChatbotService(transactions, fakes.FakeCredentials(), SystemClock(), models=MODELS, most=9)
    chatbot_id = await a_chatbot(transactions)
    with pytest.raises(ChatbotNotPublished):
        await chatbots.live(caller, chatbot_id)
    await publish(transactions, chatbot_id, WHOLE)
    await publish(transactions, chatbot_id, replace(WHOLE, greeting=None))
    chatbot, version = await chatbots.live(caller, chatbot_id)
    assert (chatbot.live_version, version.number, version.config) == (2, 2, replace(WHOLE, greeting=None))
    assert version.collections == (CollectionId(chatbot_id), *WHOLE.collections)
    assert (await chatbots.version(caller, chatbot_id, 1))[1].config == WHOLE
    assert (await chatbots.version(caller, chatbot_id, "draft"))[1].number == 0
    with pytest.raises(ChatbotVersionNotFound):
        await chatbots.version(caller, chatbot_id, 3)
    foreign = replace(caller, tenant_id=OTHER)
    for which in (1, "draft"):
        with pytest.raises(ChatbotNotFound):
            await chatbots.version(foreign, chatbot_id, which)  # type: ignore[arg-type] # of the two
    with pytest.raises(ChatbotNotFound):
        await chatbots.live(foreign, chatbot_id)


async def test_versions_of_other_releases_are_read(transactions: Any, database: Any, manager: Caller) -> None:
    chatbot_id = await a_chatbot(transactions)
    await publish(transactions, chatbot_id, WHOLE)
    async with database.connect() as admin:
        for number, stored in enumerate(('{"greeting": "Hi"}', '{"later": 1, "colours": {"later": "#fff"}}'), 2):
            await admin.execute(
                "INSERT INTO chat.chatbot_versions (tenant_id, chatbot_id, version, config) VALUES (1, $1, $2, $3)",
                chatbot_id,
                number,
                stored,
            )
    chatbots = ChatbotService(transactions, fakes.FakeCredentials(), SystemClock(), models=MODELS, most=9)
    read = [(await chatbots.version(manager, chatbot_id, number))[1].config for number in (2, 3)]
    assert read == [Config(greeting="Hi"), Config()]


async def test_a_version_never_changes_even_by_sql_of_the_service(transactions: Any, database: Any) -> None:
    chatbot_id = await a_chatbot(transactions)
    await publish(transactions, chatbot_id, WHOLE)
    async with database.open("chat") as opened, opened.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('app.tenant_id', '1', true)")
        for statement in ("UPDATE chat.chatbot_versions SET config = '{}'", "DELETE FROM chat.chatbot_versions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(statement)
        # a second version of the same number is no way round
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO chat.chatbot_versions SELECT tenant_id, chatbot_id, version, '{}' "
                    "FROM chat.chatbot_versions"
                )


async def test_a_removed_chatbot_leaves_its_name_to_nobody(transactions: Any, database: Any) -> None:
    chatbot_id = await a_chatbot(transactions)
    await publish(transactions, chatbot_id, WHOLE)
    async with transactions(OTHER) as tx:
        assert not await tx.chatbots.remove(OTHER, chatbot_id)
    async with transactions(TENANT) as tx:
        assert await tx.chatbots.remove(TENANT, chatbot_id)
    async with transactions(TENANT) as tx:
        assert not await tx.chatbots.remove(TENANT, chatbot_id)
    async with database.connect() as admin:
        assert await admin.fetchval("SELECT count(*) FROM chat.chatbots") == 0
        assert await admin.fetchval("SELECT count(*) FROM chat.chatbot_versions") == 0
        assert await admin.fetchval("SELECT count(*) FROM chat.removed_chatbots") == 1


def test_versions_are_compared_field_by_field() -> None:
    assert changes_between(WHOLE, WHOLE) == []
    other = replace(WHOLE, top_k=None, colours=Colours())
    assert changes_between(WHOLE, other) == [
        Change("top_k", 4, None),
        Change("colours", Colours(accent="#112233"), Colours()),
    ]


@pytest.fixture
def manager() -> Caller:
    return Caller(TENANT, "user", uuid7(), "admin")
