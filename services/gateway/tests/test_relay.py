"""What is passed on to the services behind, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind
from yarl import URL

from docuchat_common.http.json_body import LONG_BODY
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import INTERNAL_TOKEN


async def test_a_request_goes_on_with_what_the_service_needs_and_nothing_else(gateway: Gateway) -> None:
    headers = {
        **gateway.headers(),
        "X-Request-ID": "req-1",
        "Idempotency-Key": "k",
        "X-Internal-Token": "a guess",
        "X-Forwarded-For": "6.6.6.6",
        "Connection": "X-Secret",
        "X-Secret": "1",
    }
    url = URL(f"{gateway.url}/v1/messages?a=%2F..&b=%20", encoded=True)
    response = await gateway.call("POST", url, data=b'{"x": 1}', headers=headers)
    (seen,) = gateway.behind.seen

    assert response.status == 200
    assert response.headers["X-Request-ID"] == "req-1"
    assert len(response.headers.getall("Date")) == 1
    assert seen.raw_path == "/v1/messages?a=%2F..&b=%20"
    assert gateway.behind.bodies == [b'{"x": 1}']
    assert seen.headers["X-Request-ID"] == "req-1"
    assert seen.headers["Idempotency-Key"] == "k"
    assert seen.headers["traceparent"].startswith("00-")
    assert "X-Secret" not in seen.headers
    assert "a guess" not in seen.headers.getall("X-Internal-Token")
    assert seen.headers["X-Forwarded-For"] == "127.0.0.1", "the gateway's own word, not the client's"


async def test_a_header_that_is_sent_twice_goes_on_whole(gateway: Gateway) -> None:
    keys, named = [("Idempotency-Key", key) for key in "kl"], [("Connection", "X-A"), ("Connection", "X-B")]
    headers = [*gateway.headers().items(), *keys, *named, ("X-A", "1"), ("X-B", "1")]
    await gateway.call("POST", "/v1/messages", data=b"{}", headers=headers)
    (seen,) = gateway.behind.seen

    assert seen.headers.getall("Idempotency-Key") == ["k, l"]  # which no service takes for one of them
    assert not {"X-A", "X-B"} & set(seen.headers)


async def test_auth_learns_the_address_of_the_client(open_gateway: OpenGateway, behind: Behind) -> None:
    async with open_gateway(auth_url=behind.url) as gateway:
        await gateway.call("POST", "/v1/auth/request-code", json={"email": "a@b.c"}, headers={"X-Tenant-ID": "1"})
        (seen,) = behind.seen

        assert seen.headers["X-Internal-Token"] == INTERNAL_TOKEN
        assert seen.headers["X-Forwarded-For"] == "127.0.0.1"
        assert seen.headers["X-Tenant-ID"] == "1"


@pytest.mark.parametrize(
    "path",
    [
        "/internal/holds",
        "/v1/../internal/holds",
        "/v1/chats/../../internal/holds",
        "/v1/chats/%2e%2e%2f%2e%2e%2finternal%2fholds",
        "//internal/holds",
        "/v1/chats/x/y",
    ],
)
async def test_what_is_not_in_the_table_is_not_reached(gateway: Gateway, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rsplit(":", 1)[1]))
    token = gateway.headers()["Authorization"]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 404")
    assert gateway.behind.seen == []


async def test_a_service_that_is_down_is_a_503_in_time(open_gateway: OpenGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    async with open_gateway(usage_url=url, chat_url=url) as gateway:
        for path in ("/v1/usage", "/v1/chats", "/v1/usage"):
            began = time.monotonic()
            response = await gateway.call("GET", path, headers=gateway.headers())
            problem = await response.json()

            assert time.monotonic() - began < 2
            assert (response.status, problem["code"]) == (503, "upstream_unavailable")
            assert response.headers["Retry-After"] == "2"
            assert problem["request_id"] == response.headers["X-Request-ID"]


async def test_a_service_that_restarts_is_waited_for(open_gateway: OpenGateway) -> None:
    async def serve_usage(port: int) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/v1/usage", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with open_gateway(usage_url=f"http://127.0.0.1:{port}") as gateway:
        request = asyncio.create_task(gateway.call("GET", "/v1/usage", headers=gateway.headers()))
        await asyncio.wait({request}, timeout=0.3)
        assert not request.done()
        runner = await serve_usage(port)
        assert (await request).status == 200
        await runner.cleanup()


async def test_a_service_that_is_silent_is_given_up(open_gateway: OpenGateway, behind: Behind) -> None:
    released = asyncio.Event()

    async def silent(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    behind.answer = silent
    async with open_gateway(upstream_timeout=0.3) as gateway:
        response = await gateway.call("GET", "/v1/usage", headers=gateway.headers())
        released.set()
        assert response.status == 503


async def test_events_pass_as_they_come(gateway: Gateway, behind: Behind) -> None:
    go_on = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: start\ndata: {}\n\n")
        await go_on.wait()
        await response.write(b"event: end\ndata: {}\n\n")
        return response

    behind.answer = stream
    async with gateway.http.post("/v1/chat", json={"message": "x", "stream": True}, headers=gateway.headers()) as got:
        first = await got.content.readuntil(b"\n\n")
        go_on.set()
        rest = await got.content.read()

    assert (first, rest) == (b"event: start\ndata: {}\n\n", b"event: end\ndata: {}\n\n")
    assert got.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize(("media_type", "whole"), [("text/event-stream", True), ("application/json", False)])
async def test_an_answer_that_breaks_off_is_never_taken_for_whole(
    gateway: Gateway, behind: Behind, media_type: str, whole: bool
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": media_type})
        await response.prepare(request)
        await response.write(b"event: delta\ndata: {}\n\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    behind.answer = cut
    async with gateway.http.post("/v1/chat", json={}, headers=gateway.headers()) as response:
        if whole:
            body = await response.read()
            assert b"event: error\ndata: " in body
            assert json.loads(body.rsplit(b"data: ", 1)[1])["code"] == "upstream_unavailable"
        else:
            with pytest.raises(aiohttp.ClientError):
                await response.read()


async def test_the_end_of_an_event_that_came_in_pieces_is_seen(gateway: Gateway, behind: Behind) -> None:
    first_is_through = asyncio.Event()

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: delta\ndata: {}\n")
        await first_is_through.wait()
        await response.write(b"\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    behind.answer = cut
    async with gateway.http.post("/v1/chat", json={}, headers=gateway.headers()) as response:
        await response.content.readuntil(b"{}\n")
        first_is_through.set()
        assert b"event: error\ndata: " in await response.read()


async def test_a_client_that_hangs_up_ends_the_request_behind(gateway: Gateway, behind: Behind) -> None:
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": open\n\n")
        assert request.transport is not None
        transport = request.transport
        await eventually(transport.is_closing)
        ended.set()
        return response

    behind.answer = endless
    async with gateway.http.post("/v1/chat", json={}, headers=gateway.headers()) as response:
        await response.content.readuntil(b"\n\n")
        response.close()
    async with asyncio.timeout(30):
        await ended.wait()


@pytest.mark.parametrize(("path", "most"), [("/v1/messages", LONG_BODY), ("/v1/chat", LONG_BODY), ("/v1/chats", 16384)])
async def test_a_body_that_is_too_large_for_its_route_goes_nowhere(gateway: Gateway, path: str, most: int) -> None:
    async def chunked() -> Any:
        yield b"x" * (most + 1)

    declared = await gateway.call("POST", path, data=b"x" * (most + 1), headers=gateway.headers())
    streamed = await gateway.call("POST", path, data=chunked(), headers=gateway.headers())

    assert (declared.status, streamed.status) == (413, 413)
    assert gateway.behind.seen == []
    assert (await gateway.call("POST", path, data=b"x" * most, headers=gateway.headers())).status == 200


async def test_who_has_not_signed_in_may_say_little(gateway: Gateway) -> None:
    large = await gateway.call("POST", "/v1/auth/request-code", data=b"x" * 20_000)
    assert large.status == 413
    assert gateway.behind.seen == []


async def test_the_tenant_that_is_named_must_be_the_tokens(gateway: Gateway) -> None:
    async def status(**headers: str) -> tuple[int, str | None]:
        async with gateway.http.get("/v1/chats", headers=headers) as response:
            return response.status, (await response.json()).get("code")

    mine = gateway.headers(tenant_id=7, tenant_slug="acme")
    assert (await status(**mine))[0] == 200
    assert (await status(**mine, **{"X-Tenant-ID": "7"}))[0] == 200
    assert (await status(**mine, **{"X-Tenant-ID": "acme"}))[0] == 200
    assert await status(**mine, **{"X-Tenant-ID": "8"}) == (403, "tenant_mismatch")
    assert (await status())[0] == 401
    assert await status(Authorization="Bearer nonsense") == (401, "invalid_token")


async def test_pages_of_the_front_end_may_call(gateway: Gateway) -> None:
    def preflight(origin: str) -> Any:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return gateway.call(
            "OPTIONS", "/v1/files", headers=headers | {"Access-Control-Request-Headers": "authorization"}
        )

    allowed = await preflight("http://localhost:3000")
    refused = await preflight("http://evil.example")
    failed = await gateway.call("GET", "/v1/chats", headers={"Origin": "http://localhost:3000"})

    assert allowed.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert (failed.status, failed.headers["Access-Control-Allow-Origin"]) == (401, "http://localhost:3000")


class Freezable:
    """A service that can be frozen as SIGSTOP freezes one: connections are taken, and nothing is answered."""

    def __init__(self) -> None:
        self.connections: list[asyncio.Task[None]] = []
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.heads = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.ensure_future(self.handle(reader, writer)))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.thawed.wait()
                head = await reader.readuntil(b"\r\n\r\n")
                await self.thawed.wait()
                self.heads += b"/livez" not in head
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_frozen_service_is_a_503_within_two_seconds_then_at_once_until_it_is_back(
    open_gateway: OpenGateway,
) -> None:
    frozen = Freezable()
    server = await asyncio.start_server(frozen.accept, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def timed(gateway: Gateway, method: str, path: str) -> tuple[int, str | None, float]:
        began = time.monotonic()
        response = await gateway.call(method, path, headers=gateway.headers())
        return response.status, response.headers.get("Retry-After"), time.monotonic() - began

    async with open_gateway(usage_url=url, chat_url=url) as gateway:
        assert (await timed(gateway, "GET", "/v1/usage"))[0] == 200
        frozen.thawed.clear()
        first = await asyncio.gather(
            timed(gateway, "GET", "/v1/usage"), timed(gateway, "POST", "/v1/chat"), timed(gateway, "GET", "/v1/chats")
        )
        then = await timed(gateway, "POST", "/v1/chat")
        ready = await gateway.call("GET", "/readyz")
        frozen.thawed.set()

        async def works() -> None:
            assert (await timed(gateway, "GET", "/v1/usage"))[0] == 200
            assert (await timed(gateway, "POST", "/v1/chat"))[0] == 200

        await eventually(works)

    assert [answer[:2] for answer in (*first, then)] == [(503, "2")] * 4
    assert max(answer[2] for answer in first) < 2
    assert then[2] < 0.5
    assert ready.status == 503
    checks = (await ready.json())["checks"]
    assert (checks["chat"], checks["usage"]) != ("ok", "ok")
    assert checks["redis"] == "ok"
    server.close()
    await asyncio.gather(*frozen.connections)


async def test_a_service_that_is_slow_but_lives_is_waited_for(gateway: Gateway, behind: Behind) -> None:
    released = asyncio.Event()
    asked = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.path == "/livez":
            asked.set()
            return web.Response()
        await released.wait()
        return web.json_response({})

    behind.answer = slow
    request = asyncio.create_task(gateway.call("POST", "/v1/chat", json={}, headers=gateway.headers()))
    async with asyncio.timeout(30):
        await asked.wait()
    released.set()
    assert (await request).status == 200


async def test_a_slash_too_many_is_no_redirect_to_whatever_host_was_named(gateway: Gateway) -> None:
    headers = gateway.headers() | {"Host": "elsewhere.example"}
    response = await gateway.call("POST", "/v1/chat/", headers=headers, allow_redirects=False)
    assert (response.status, response.headers.get("Location")) == (404, None)


async def test_junk_behind_an_address_keeps_nobody_there_from_signing_in(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=2) as gateway:
        junk = {"Authorization": "Bearer junk"}
        statuses = [(await gateway.call("GET", "/v1/chats", headers=junk)).status for _ in range(3)]
        behind = [(await gateway.call("POST", f"/v1/auth/{path}")).status for path in ("refresh", "request-code")]
        handshake = await gateway.call(
            "GET",
            "/ws/chat",
            headers=junk
            | {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )

    assert statuses == [401, 401, 429]
    assert 429 not in behind
    assert handshake.status == 429
