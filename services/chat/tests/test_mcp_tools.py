"""Tools in this process: whose they are, and what a cancellation reaches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
import redis.asyncio as redis

from docuchat_chat.adapters.redis_calls import RedisCalls
from docuchat_chat.mcp.asking import Asking
from docuchat_chat.mcp.domain import Call
from docuchat_chat.mcp.protocol import make_manager
from docuchat_chat.mcp.server import _call_name
from docuchat_chat.mcp.tools import Toolbox
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.responding import Turns
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_testkit.eventually import eventually

QUESTION = "How long is the warranty?"
READ = ["search", "list_documents", "get_passage"]


@pytest.fixture
async def asking(world: Any) -> AsyncIterator[Asking]:
    client = redis.Redis.from_url(world._redis_url, protocol=2)
    asking = Asking(Turns(world.asking, world.replay), RedisCalls(client, life=timedelta(minutes=1)))
    yield asking
    await asking.close()
    await client.aclose()


def test_each_sees_the_tools_that_the_credential_is_for() -> None:
    tools = Toolbox(cast(Any, None), cast(Any, None), cast(Any, None))
    user = Caller(TenantId(1), "user", uuid7(), "viewer")
    key = Caller(TenantId(1), "key", uuid7(), "owner", scopes=frozenset({"documents.read"}))
    chatbot_id = uuid7()
    chatbot = Caller(TenantId(1), "chatbot", chatbot_id, "chatbot", chatbot_id=chatbot_id, key_id=uuid7())
    visitor = Caller(TenantId(1), "visitor", uuid7(), "visitor", chatbot_id=chatbot_id)

    def names(caller: Caller) -> list[str]:
        return [tool.name for tool in tools.of(caller)]

    assert names(user) == ["search", "ask", "list_documents", "get_passage"]
    assert names(key) == READ
    assert names(replace(key, scopes=frozenset({"chats.use"}))) == ["ask"]
    assert names(replace(key, scopes=frozenset({"mcp.use"}))) == []
    (tool,) = tools.of(chatbot)
    assert tool.input_schema["properties"].keys() == {"question", "session_id"}
    assert names(visitor) == []


def test_a_call_has_another_name_for_each_caller_and_client() -> None:
    ann, ben = (Caller(TenantId(1), "user", uuid7(), "member") for _ in range(2))
    names = {_call_name(caller, session, request) for caller in (ann, ben) for session in "ab" for request in (1, 2)}
    assert len(names) == 8


@pytest.mark.parametrize("ends_with_its_stream", [True, False])
async def test_a_stream_that_is_closed_stops_the_turn_where_the_protocol_says_so(
    world: Any, asking: Asking, ends_with_its_stream: bool
) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["Two years [1].", gate, "stop"]]
    told = asyncio.Event()

    async def tell(progress: float, _: str) -> None:
        if progress >= 1:
            told.set()

    call = Call(world.caller, tell=tell, ends_with_its_stream=ends_with_its_stream)
    asked = asyncio.create_task(asking.ask(call, Question(QUESTION)))
    await told.wait()
    asked.cancel()
    await asyncio.wait({asked})
    await asking.close()
    if not ends_with_its_stream:
        gate.set()

    async def state() -> bool:
        rows = await world.rows("SELECT state FROM chat.turns")
        return [row["state"] for row in rows] == ["stopped" if ends_with_its_stream else "completed"]

    await eventually(state)


async def test_a_notification_stops_the_call_that_it_names_and_no_other(world: Any, asking: Asking) -> None:
    gate = asyncio.Event()
    world.model.scripts = [["Two years [1].", gate, "stop"]]
    asked = asyncio.create_task(asking.ask(Call(world.caller, name="1:a:x"), Question(QUESTION)))

    async def runs() -> bool:
        return bool(world.registry.turns)

    await eventually(runs)
    await asking.cancel(world.caller, "1:a:y")
    await asking.cancel(world.new_caller(), "1:b:x")
    assert not asked.done()
    await asking.cancel(world.caller, "1:a:x")
    assert (await asked).message.metadata["finish_reason"] == "stopped"


async def test_a_call_that_is_cancelled_before_its_turn_is_there_is_stopped_as_soon_as_it_is(
    world: Any, asking: Asking
) -> None:
    world.model.scripts, world.holds.gate = [["Two years [1].", asyncio.Event(), "stop"]], asyncio.Event()
    asked = asyncio.create_task(asking.ask(Call(world.caller, name="1:a:x"), Question(QUESTION)))
    await eventually(lambda: world.holds.asked)
    assert await world.rows("SELECT FROM chat.turns") == []
    await asking.cancel(world.caller, "1:a:x")
    world.holds.gate.set()
    answer = await asked
    assert answer.message.metadata["finish_reason"] == "stopped"


def test_what_the_sdk_would_log_of_users_is_not_logged() -> None:
    logging.getLogger("mcp").setLevel(logging.NOTSET)
    make_manager(Toolbox(cast(Any, None), cast(Any, None), cast(Any, None)), cast(Any, None))
    assert not logging.getLogger("mcp.server.lowlevel").isEnabledFor(logging.CRITICAL)
