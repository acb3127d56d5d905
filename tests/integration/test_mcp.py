"""Assistants at the running product: each credential, both eras of the protocol, the books, and absurd messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

ERAS = ["2026-07-28", "legacy"]
QUESTION = "How long does the warranty of the kettle last?"
LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@asynccontextmanager
async def assistant(product: Product, headers: dict[str, str], era: str = ERAS[0]) -> AsyncIterator[Client]:
    async with product.client(headers=headers) as http:
        transport = streamable_http_client(f"{product.url}/mcp", http_client=http)
        async with Client(transport, mode=era) as client:
            yield client


async def key_of(user: User, *scopes: str) -> str:
    made = await user.http.post("/v1/api-keys", json={"name": "editor", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    secret: str = made.json()["secret"]
    return secret


@pytest.mark.parametrize("era", ERAS)
async def test_a_conversation_by_each_credential_is_booked_once_an_answer(
    product: Product, stub_provider: StubProviderHandle, era: str
) -> None:
    async with product.user(await product.new_tenant()) as owner:
        document = await owner.ready(LEAFLET)
        chatbot = (await owner.http.post("/v1/chatbots", json={"name": "Shop"})).json()
        await owner.http.patch(f"/v1/chatbots/{chatbot['id']}", json={"collections": [document["collection_id"]]})
        assert (await owner.http.post(f"/v1/chatbots/{chatbot['id']}/publish")).status_code in (200, 201)
        secret = await key_of(owner, "chats.use", "documents.read")
        credentials = [
            {"Authorization": f"Bearer {owner.token}"},
            {"Authorization": f"Bearer {secret}"},
            {"X-API-Key": secret},
            {"X-API-Key": chatbot["secret_key"]},
        ]
        for headers in credentials:
            told: list[float] = []

            async def progress(done: float, *_: Any, told: list[float] = told) -> None:
                told.append(done)

            async with assistant(product, headers, era) as client:
                tools = [tool.name for tool in (await client.list_tools()).tools]
                first = await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)
                answer = first.structured_content
                assert not first.is_error and "36 months" in answer["answer"], first
                assert {citation["document_id"] for citation in answer["citations"]} == {document["id"]}
                assert answer["citations"][0]["page"] == 1 and answer["citations"][0]["quote"]
                again = await client.call_tool("ask", {"question": QUESTION, "session_id": answer["session_id"]})
                assert again.structured_content["chat_id"] == answer["chat_id"]
                assert told and told == sorted(told)
                if headers != credentials[-1]:
                    found = await client.call_tool("search", {"query": QUESTION})
                    (passage, *_) = found.structured_content["passages"]
                    read = await client.call_tool("get_passage", {"chunk_id": passage["chunk_id"]})
                    listed = await client.call_tool("list_documents", {"status": "ready"})
                    assert read.structured_content["text"] == passage["text"]
                    assert [item["id"] for item in listed.structured_content["documents"]] == [document["id"]]
            assert tools == (["ask"] if headers == credentials[-1] else [*_ALL])

        async def books_agree() -> None:
            served, booked = stub_provider.counts(), await product.booked(owner.tenant_id)
            assert booked["chats"] == 2 * len(credentials) == served.calls - _embeddings(stub_provider)
            assert booked["prompt_tokens"] == served.prompt_tokens
            assert booked["completion_tokens"] == served.completion_tokens
            assert booked["embedding_tokens"] == served.embedding_tokens
            assert (await owner.usage())["quota"]["tokens"]["held"] == 0

        await eventually(books_agree, 45)


_ALL = ("search", "ask", "list_documents", "get_passage")


def _outcomes(provider: StubProviderHandle) -> list[str]:
    return [call.outcome for call in provider.calls() if call.endpoint == "chat"]


def _embeddings(provider: StubProviderHandle) -> int:
    return sum(call.endpoint == "embeddings" for call in provider.calls())


@pytest.mark.parametrize("era", ERAS)
async def test_a_cancelled_question_is_stopped_at_the_provider_and_booked_as_far_as_it_came(
    product: Product, user: User, stub_provider: StubProviderHandle, era: str
) -> None:
    await user.ready(LEAFLET)
    stub_provider.control(Rule(endpoint="chat", exact_tokens=600, rate=20))
    began = anyio.Event()

    async def progress(done: float, *_: Any) -> None:
        if done > 1:
            began.set()

    async with assistant(product, user.headers, era) as client:

        async def ask() -> None:
            await client.call_tool("ask", {"question": QUESTION}, progress_callback=progress)

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await began.wait()
            group.cancel_scope.cancel()
        await eventually(lambda: _outcomes(stub_provider) == ["cancelled"])

    async def is_booked() -> None:
        served, booked = stub_provider.counts(), await product.booked(user.tenant_id)
        assert booked["chats"] == 1 and 0 < booked["completion_tokens"] < 600
        assert booked["prompt_tokens"] == served.prompt_tokens
        assert (await user.usage())["quota"]["tokens"]["held"] == 0

    await eventually(is_booked, 45)


async def test_nothing_of_another_tenant_is_seen(product: Product, user: User) -> None:
    async with product.user(await product.new_tenant()) as other:
        theirs = await other.ready(LEAFLET)
        (passage, *_) = await other.search(QUESTION)
        async with assistant(product, user.headers) as client:
            for tool, arguments, code in (
                ("search", {"query": QUESTION, "documents": [theirs["id"]]}, "document_not_found"),
                ("search", {"query": QUESTION, "collection": theirs["collection_id"]}, "collection_not_found"),
                ("ask", {"question": QUESTION, "documents": [theirs["id"]]}, "document_not_found"),
                ("ask", {"question": QUESTION, "collection": theirs["collection_id"]}, "collection_not_found"),
                ("get_passage", {"chunk_id": passage["chunk_id"]}, "passage_not_found"),
            ):
                result = await client.call_tool(tool, arguments)
                assert result.is_error and result.meta["docuchat/error"]["code"] == code, (tool, result)
            found = await client.call_tool("search", {"query": QUESTION})
            listed = await client.call_tool("list_documents", {})
            assert found.structured_content["passages"] == listed.structured_content["documents"] == []


async def test_who_is_not_let_in_is_told_how_to_come_in(product: Product, user: User) -> None:
    revoked = await user.http.post("/v1/api-keys", json={"name": "lost", "scopes": ["chats.use"]})
    assert (await user.http.delete(f"/v1/api-keys/{revoked.json()['id']}")).status_code == 204
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with product.client() as http:
        metadata = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert metadata["resource"].endswith("/mcp")
        for headers in ({}, {"Authorization": "Bearer a.b.c"}, {"X-API-Key": revoked.json()["secret"]}):
            answer = await http.post("/mcp", json=ping, headers=ACCEPT | headers)
            assert answer.status_code == 401
            assert "resource_metadata=" in answer.headers["WWW-Authenticate"]
        bad = await http.post("/mcp", json=ping, headers=ACCEPT | user.headers | {"Origin": "https://evil.example"})
        assert (bad.status_code, bad.json()["code"]) == (403, "origin_refused")
        key = await key_of(user, "usage.read")
        unfit = await http.post("/mcp", json=ping, headers=ACCEPT | {"X-API-Key": key})
        assert (unfit.status_code, unfit.json()["code"]) == (403, "not_allowed")
        good = await http.post("/mcp", json=ping, headers=ACCEPT | user.headers)
        assert good.status_code == 200
