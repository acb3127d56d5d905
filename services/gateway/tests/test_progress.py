"""Progress of a document, pushed as server-sent events."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis
from services.gateway.tests.conftest import Gateway, OpenGateway

from docuchat_common.errors import UpstreamUnavailable
from docuchat_gateway.adapters.signals import RedisDocumentSignals
from docuchat_testkit.eventually import eventually


async def test_progress_is_pushed_until_the_document_is_done(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    async with (
        asyncio.timeout(30),
        gateway.http.get(f"/v1/files/{document['id']}/events", headers=gateway.headers()) as response,
    ):
        events = response.content
        first = await events.readuntil(b"\n\n")
        await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
        rest = await events.read()

    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert b'"status":"queued"' in first
    assert rest.startswith(b"event: progress\ndata: {")
    assert b'"code":"encrypted"' in rest


async def test_a_redis_that_is_away_is_an_outage_to_who_listens_for_hints() -> None:
    async with redis.Redis.from_url("redis://127.0.0.1:1", protocol=2) as away:
        with pytest.raises(UpstreamUnavailable):
            await RedisDocumentSignals(away).run()


async def test_a_user_follows_so_many_documents_at_once(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_progress_streams=1) as gateway, asyncio.timeout(30):
        document = await (await gateway.upload()).json()
        path = f"/v1/files/{document['id']}/events"
        async with gateway.http.get(path, headers=gateway.headers()) as followed:
            await followed.content.readuntil(b"\n\n")
            refused = await gateway.call("GET", path, headers=gateway.headers())
            async with gateway.http.get(path, headers=gateway.mint.headers()) as of_another:
                assert of_another.status == 200

        async def taken_again() -> bool:
            async with gateway.http.get(path, headers=gateway.headers()) as again:
                return again.status == 200

        await eventually(taken_again)

    assert (refused.status, (await refused.json())["code"]) == (429, "too_many_streams")
    assert refused.headers["Retry-After"] == "5"


async def test_a_stream_ends_after_a_while_and_says_when_to_come_again(open_gateway: OpenGateway) -> None:
    async with open_gateway(progress_longest="300ms", progress_poll="50ms") as gateway, asyncio.timeout(30):
        document = await (await gateway.upload()).json()
        events = await gateway.call("GET", f"/v1/files/{document['id']}/events", headers=gateway.headers())
        body = await events.text()

    assert body.startswith("event: progress\n")
    assert body.endswith("\n\nretry: 2000\n\n")
