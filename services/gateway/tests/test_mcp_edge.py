"""The MCP server at the edge: who gets in, from which pages, and what a client is told that does not."""

from __future__ import annotations

from typing import Any

import pytest
from services.gateway.tests.conftest import Gateway

OWN = "http://localhost:8000"
METADATA = "/.well-known/oauth-protected-resource"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer a.b.c"}, {"X-API-Key": "dck_no-such"}, {"X-API-Key": "x"}]
)
async def test_who_has_no_good_credential_is_told_where_to_read_on(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.call("POST", "/mcp", json=PING, headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == f'Bearer resource_metadata="{OWN}{METADATA}/mcp"'
    assert not gateway.behind.seen


@pytest.mark.parametrize("path", [METADATA, f"{METADATA}/mcp"])
async def test_the_metadata_are_for_everybody_and_promise_nothing_that_is_not_there(
    gateway: Gateway, path: str
) -> None:
    told: dict[str, Any] = await (await gateway.call("GET", path)).json()
    assert told["resource"] == f"{OWN}/mcp"
    assert told["bearer_methods_supported"] == ["header"]
    assert "authorization_servers" not in told


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        (None, True),
        (OWN, True),
        ("http://localhost:3000", True),
        ("http://evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("", False),
    ],
)
async def test_only_known_pages_may_call(gateway: Gateway, origin: str | None, passes: bool) -> None:
    headers = gateway.headers() | ({} if origin is None else {"Origin": origin})
    answer = await gateway.call("POST", "/mcp", json=PING, headers=headers)
    if passes:
        assert answer.status == 200 and gateway.behind.seen[-1].path == "/mcp"
    else:
        assert (answer.status, (await answer.json())["code"]) == (403, "origin_refused")
        assert not gateway.behind.seen


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_is_no_stream_of_the_servers_own(gateway: Gateway, method: str) -> None:
    answer = await gateway.call(method, "/mcp", headers=gateway.headers())
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_long_message_is_not_passed_on(gateway: Gateway) -> None:
    answer = await gateway.call("POST", "/mcp", data=b"x" * 2**20, headers=gateway.headers())
    assert (answer.status, (await answer.json())["code"]) == (413, "payload_too_large")
    assert not gateway.behind.seen
