"""Visitors of chatbots, and programs with a chatbot's key, at the gateway."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind, Chat

from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import PAGE

CHATBOT = uuid.uuid4()
FOLLOWED = f"/v1/turns/{uuid.uuid4()}/events"
STOPPED = f"/v1/turns/{uuid.uuid4()}/stop"
RATED = f"/v1/messages/{uuid.uuid4()}/feedback"
VISITED = f"/v1/public/chatbots/pub_{CHATBOT.hex}/visitors"
ASKED = f"/v1/public/chatbots/{CHATBOT}/query"
OPEN = {FOLLOWED: "GET", STOPPED: "POST", RATED: "POST", VISITED: "POST", ASKED: "POST"}
ELSEWHERE = "https://evil.example"


@pytest.fixture
def chat(behind: Behind) -> Chat:
    return Chat(behind)


async def code_of(gateway: Gateway, headers: Any, path: str = STOPPED) -> tuple[int, str | None]:
    async with gateway.http.request(OPEN.get(path, "GET"), path, headers=headers) as response:
        return response.status, (await response.json()).get("code")


async def test_a_token_that_was_copied_from_the_page_opens_nothing_elsewhere(gateway: Gateway, behind: Behind) -> None:
    own = gateway.mint.visitor_headers(CHATBOT)
    for path in (FOLLOWED, STOPPED, RATED, ASKED):
        assert await code_of(gateway, own, path) == (200, None)
        assert behind.seen[-1].headers["Origin"] == PAGE  # the service judges it again
        behind.seen.clear()
        for origin in ({"Origin": ELSEWHERE}, {"Origin": "null"}, {"Origin": f"{PAGE}:8443"}, {}):
            copied = {"Authorization": own["Authorization"], **origin}
            assert await code_of(gateway, copied, path) == (403, "origin_not_allowed")
        assert behind.seen == []


async def test_a_page_is_told_why_it_is_refused(gateway: Gateway) -> None:
    """A browser shows a page no answer without this header, not even the refusal."""
    for path, method in OPEN.items():
        asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": method}
        preflight = await gateway.call(
            "OPTIONS", path, headers=asked | {"Access-Control-Request-Headers": "authorization, content-type"}
        )
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        answer = await gateway.call(method, path, headers={"Origin": ELSEWHERE})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in {**preflight.headers, **answer.headers}
    for path in ("/v1/chats", "/v1/chat", "/v1/auth/login", "/v1/chatbots"):
        asked = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST"}
        refused = await gateway.call("OPTIONS", path, headers=asked)
        assert (refused.status, "Access-Control-Allow-Origin" in refused.headers) == (400, False), path


async def test_a_visitor_counts_for_the_visitor_and_for_the_address(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_minute=2, rate_limit_per_address=5) as gateway:
        one = gateway.mint.visitor_headers(CHATBOT)
        alone = [(await gateway.call("POST", STOPPED, headers=one)).status for _ in range(3)]
        others = [
            (await gateway.call("POST", STOPPED, headers=gateway.mint.visitor_headers(CHATBOT))).status
            for _ in range(4)
        ]
        user = await gateway.call("GET", "/v1/chats", headers=gateway.headers())
        stranger = await gateway.call("GET", "/v1/chats")

        assert alone == [200, 200, 429]
        assert others == [200, 200, 200, 429]  # cleared cookies make other visitors, not another address
        assert (user.status, stranger.status) == (200, 401)


async def test_visitors_do_not_fill_the_audit_log_with_what_they_are_refused(gateway: Gateway) -> None:
    for _ in range(3):
        headers = gateway.mint.visitor_headers(CHATBOT)
        assert (await gateway.call("GET", "/v1/files", headers=headers)).status == 403
    await gateway.container.refusals.write()
    told = "SELECT count(*) FROM knowledge.outbox WHERE type = 'audit.recorded.v1'"
    assert await gateway.fetchval(told) == 1


async def test_a_chatbots_program_asks_for_many_people(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_minute=1, rate_limit_per_address=3) as gateway:
        key = {"X-API-Key": gateway.mint.make_chatbot_key(uuid.uuid4())}
        assert [(await gateway.call("POST", ASKED, headers=key)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_a_chatbots_key_is_an_api_key_that_asks(gateway: Gateway, behind: Behind) -> None:
    key = gateway.mint.make_chatbot_key(CHATBOT)
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert await code_of(gateway, headers, ASKED) == (200, None)
        assert "X-API-Key" not in behind.seen[-1].headers
    for path in ("/v1/files", "/v1/chats", "/v1/api-keys", "/v1/usage"):
        assert await code_of(gateway, {"X-API-Key": key}, path) == (403, "not_allowed")
    gateway.mint.take_back("chatbot", CHATBOT)
    del gateway.mint.api_keys[key]

    async def is_over() -> bool:
        return await code_of(gateway, {"X-API-Key": key}, ASKED) == (401, "invalid_api_key")

    await eventually(is_over)


async def test_what_a_chatbot_takes_back_ends_its_visitors_and_no_key(gateway: Gateway) -> None:
    chatbot, other = uuid.uuid4(), uuid.uuid4()
    old, of_other = gateway.mint.visitor_headers(chatbot), gateway.mint.visitor_headers(other)
    key = {"X-API-Key": gateway.mint.make_chatbot_key(chatbot)}
    gateway.mint.take_back("chatbot", chatbot, state="changed", version=1)

    async def is_outdated() -> bool:
        return await code_of(gateway, old) == (401, "token_outdated")

    await eventually(is_outdated)
    assert await code_of(gateway, gateway.mint.visitor_headers(chatbot, claims={"ver": 1})) == (200, None)
    assert await code_of(gateway, key) == await code_of(gateway, of_other) == (200, None)


@pytest.mark.parametrize(("state", "code"), [("ended", "session_ended"), ("changed", "token_outdated")])
async def test_an_open_stream_of_a_visitor_ends_with_the_chatbot(
    gateway: Gateway, chat: Chat, state: str, code: str
) -> None:
    chat.script = chat.until_stopped
    chatbot = uuid.uuid4()
    async with (
        asyncio.timeout(30),
        gateway.http.get(FOLLOWED, headers=gateway.mint.visitor_headers(chatbot)) as stream,
    ):
        first = await stream.content.readuntil(b"\n\n")
        gateway.mint.take_back("chatbot", chatbot, state=state, version=1)
        rest = await stream.content.read()

    assert b'"start"' in first
    assert f'"code":"{code}"'.encode() in rest
