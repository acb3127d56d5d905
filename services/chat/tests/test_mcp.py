"""The MCP server, driven by the official client in both eras of the protocol."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import anyio
import httpx2
import orjson
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from docuchat_testkit.eventually import eventually
from docuchat_testkit.provider_rules import Rule

running = sys.modules["chat_running"]
QUESTION, TEXTS = running.QUESTION, running.TEXTS
ERAS = ["2026-07-28", "legacy"]


@asynccontextmanager
async def assistant(chat: Any, headers: dict[str, str], era: str = ERAS[0]) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{chat.url}/mcp", http_client=http)
        async with Client(transport, mode=era) as client:
            yield client


def key(mint: Any, scope: str, **fields: Any) -> dict[str, str]:
    headers: dict[str, str] = mint.headers(
        tenant_id=1, user_id=uuid4(), role="owner", claims={"sub_type": "key", "scope": scope}, **fields
    )
    return headers


@pytest.mark.parametrize("era", ERAS)
async def test_an_assistant_searches_asks_lists_and_reads(stage: Any, era: str) -> None:
    document_id = await stage.seed()
    chat = await stage.start()
    told: list[tuple[float, str | None]] = []

    async def progress(done: float, _: float | None, message: str | None) -> None:
        told.append((done, message))

    async with assistant(chat, stage.headers, era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        found = await client.call_tool("search", {"query": QUESTION, "documents": [str(document_id)]})
        answer = await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)
        again = await client.call_tool(
            "ask", {"question": QUESTION, "session_id": answer.structured_content["session_id"]}
        )
        listed = await client.call_tool("list_documents", {"limit": 1})
        passage_id = answer.structured_content["citations"][0]["chunk_id"]
        passage = await client.call_tool("get_passage", {"chunk_id": passage_id})

    assert list(tools) == ["search", "ask", "list_documents", "get_passage"]
    assert all(tool.annotations.read_only_hint and tool.title and tool.output_schema for tool in tools.values())
    (first, *_) = found.structured_content["passages"]
    assert (first["document_id"], first["page"], first["text"]) == (str(document_id), 1, TEXTS[0])
    assert "two years" in answer.structured_content["answer"]
    (citation, *_) = answer.structured_content["citations"]
    assert citation["page"] == 1 and citation["quote"].startswith("The warranty of the motor lasts two years")
    assert again.structured_content["chat_id"] == answer.structured_content["chat_id"]
    assert [item["id"] for item in listed.structured_content["documents"]] == [str(document_id)]
    assert passage.structured_content["text"] == TEXTS[0] and passage.structured_content["previous_chunk_id"] is None
    assert UUID(passage.structured_content["next_chunk_id"])
    for result in (found, answer, listed, passage):
        assert not result.is_error and orjson.loads(result.content[0].text) == result.structured_content
    assert [done for done, _ in told] == sorted({done for done, _ in told}) and len(told) >= 3
    assert told[0][1] == "Searching the documents" and told[1][1] == "Passages found: 1"
    assert len(await stage.events()) == 2  # one entry an answer
    calls = stage.provider.counts()
    embedded = [event for event in await running.usage_events(stage.database) if event.kind == "embedding"]
    assert sum(event.input_tokens for event in embedded) == calls.embedding_tokens and len(embedded) == 3


async def test_each_sees_and_may_call_what_the_credential_is_for(stage: Any) -> None:
    await stage.seed()
    chat = await stage.start()
    reading, asking = key(stage.mint, "documents.read"), key(stage.mint, "chats.use")
    chatbot = stage.mint.headers(
        tenant_id=1,
        user_id=uuid4(),
        role="chatbot",
        claims={"sub_type": "chatbot", "scope": "chatbots.ask chats.follow", "key": str(uuid4())},
    )
    seen = {}
    for name, headers in (("reading", reading), ("asking", asking), ("chatbot", chatbot)):
        async with assistant(chat, headers) as client:
            tools = (await client.list_tools()).tools
            seen[name] = [tool.name for tool in tools]
            if name == "reading":
                refused = await client.call_tool("ask", {"question": QUESTION})
                found = await client.call_tool("search", {"query": QUESTION})
            if name == "chatbot":
                (tool,) = tools
                hidden = await client.call_tool("search", {"query": QUESTION})
                unpublished = await client.call_tool("ask", {"question": QUESTION})
                named = await client.call_tool("ask", {"question": QUESTION, "chatbot": str(uuid4())})
    reads = ["search", "list_documents", "get_passage"]
    assert seen == {"reading": reads, "asking": ["ask"], "chatbot": ["ask"]}
    assert tool.input_schema["properties"].keys() == {"question", "session_id"}
    assert found.structured_content["passages"] and not found.is_error
    for result, code in (
        (refused, "not_allowed"),
        (hidden, "not_allowed"),
        (unpublished, "chatbot_not_found"),
        (named, "invalid_input"),
    ):
        assert result.is_error and result.meta["docuchat/error"]["code"] == code
        assert result.content[0].text.startswith(f"{code}: ")

    async def are_told() -> bool:
        async with stage.database.connect() as admin:
            told = await admin.fetch("SELECT body FROM chat.outbox WHERE type = 'audit.recorded.v1'")
        return sum(b'"access.deny"' in row["body"] and b"POST /mcp" in row["body"] for row in told) >= 2

    await eventually(are_told)  # of the key and of the chatbot, whose tools they were not
    for headers in (key(stage.mint, "usage.read"), key(stage.mint, "")):
        answer = await chat.http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert await stage.events() == []


async def test_another_tenants_ids_are_not_there(stage: Any) -> None:
    theirs = await stage.seed(tenant=2)
    await stage.seed()
    (row,) = [row async for row in _chunks(stage, theirs)]
    chat = await stage.start()
    async with assistant(chat, stage.headers) as client:
        results = {
            "document_not_found": await client.call_tool("search", {"query": "x", "documents": [str(theirs)]}),
            "collection_not_found": await client.call_tool(
                "ask", {"question": "x", "collection": str(row["collection_id"])}
            ),
            "passage_not_found": await client.call_tool("get_passage", {"chunk_id": str(row["id"])}),
            "chatbot_not_found": await client.call_tool("ask", {"question": "x", "chatbot": str(uuid4())}),
            "invalid_cursor": await client.call_tool("list_documents", {"cursor": "x"}),
            "quota": await client.call_tool("list_documents", {}),
        }
    assert str(theirs) not in str(results.pop("quota").structured_content)
    assert {code: (result.is_error, result.meta["docuchat/error"]["code"]) for code, result in results.items()} == {
        code: (True, code) for code in results
    }


async def _chunks(stage: Any, document_id: UUID) -> AsyncIterator[Any]:
    async with stage.database.connect() as admin:
        for row in await admin.fetch(
            "SELECT id, collection_id FROM knowledge.chunks WHERE document_id = $1 LIMIT 1", document_id
        ):
            yield row


async def test_what_cannot_be_done_says_what_to_do(stage: Any) -> None:
    await stage.seed()
    chat = await stage.start()
    stage.holds.limit = 0
    async with assistant(chat, stage.headers) as client:
        spent = await client.call_tool("ask", {"question": QUESTION})
        wrong = await client.call_tool("search", {"query": 1, "limit": 1000, "secret words": 1})
        with pytest.raises(MCPError, match="no such tool"):
            await client.call_tool("delete_everything", {})
    assert spent.is_error and spent.meta["docuchat/error"]["resets_at"] == "2026-12-01T00:00:00Z"
    assert spent.meta["docuchat/error"]["retry_after_seconds"] == 3600 and "Used up." in spent.content[0].text
    assert wrong.meta["docuchat/error"]["code"] == "invalid_input"
    assert "query: " in wrong.content[0].text and "limit: " in wrong.content[0].text


@pytest.mark.parametrize("era", ERAS)
async def test_a_cancelled_question_stops_its_turn(stage: Any, era: str) -> None:
    await stage.seed()
    stage.provider.control(Rule(endpoint="chat", rate=20, exact_tokens=400))
    chat = await stage.start()
    began = anyio.Event()

    async def progress(done: float, _: float | None, __: str | None) -> None:
        if done > 1:
            began.set()

    async with assistant(chat, stage.headers, era) as client, anyio.create_task_group() as group:

        async def ask() -> None:
            await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)

        group.start_soon(ask)
        await began.wait()
        group.cancel_scope.cancel()

    async def is_stopped() -> bool:
        async with stage.database.connect() as admin:
            return [row["state"] for row in await admin.fetch("SELECT state FROM chat.turns")] == ["stopped"]

    await eventually(is_stopped)
    assert len(await stage.events()) == 1
