"""The rate limit, on a real Redis."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from services.gateway.tests.conftest import OpenGateway
from services.gateway.tests.fakes import Behind
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from docuchat_common.contracts.api_keys import new_api_key
from docuchat_common.errors import RateLimited
from docuchat_common.ids import uuid7
from docuchat_gateway.edge.limits import SignIn, Turn, Turns
from docuchat_gateway.edge.table import TABLE
from docuchat_testkit.eventually import eventually


async def test_a_user_has_so_many_requests_a_minute(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_minute=5) as gateway:
        responses = [await gateway.call("GET", "/v1/chats", headers=gateway.headers()) for _ in range(6)]
        other = await gateway.call("GET", "/v1/chats", headers=gateway.mint.headers())
        health = [await gateway.call("GET", "/livez") for _ in range(10)]

        assert [response.status for response in responses] == [200] * 5 + [429]
        assert [response.headers["RateLimit-Remaining"] for response in responses] == list("432100")
        assert responses[0].headers["RateLimit-Limit"] == "5"
        assert 1 <= int(responses[0].headers["RateLimit-Reset"]) <= 60
        refused = responses[-1]
        assert (await refused.json())["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 120
        assert other.status == 200
        assert {response.status for response in health} == {200}


async def test_all_keys_of_a_user_have_one_limit_with_the_user_and_a_service_key_its_own(
    open_gateway: OpenGateway,
) -> None:
    async with open_gateway(rate_limit_per_minute=4) as gateway:
        user = uuid7()
        own = [{"sub_type": "key", "scope": "chats.use", "user": str(user)} for _ in range(2)]
        callers = [gateway.mint.headers(role="member", user_id=uuid7(), claims=claims) for claims in own]
        callers += [gateway.mint.headers(role="member", user_id=user)]
        statuses = [(await gateway.call("GET", "/v1/chats", headers=callers[n % 3])).status for n in range(6)]
        service = gateway.mint.headers(role="member", claims={"sub_type": "key", "scope": "chats.use"})

        assert statuses == [200] * 4 + [429] * 2
        assert (await gateway.call("GET", "/v1/chats", headers=service)).status == 200


async def test_an_address_has_a_limit_of_its_own(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=3) as gateway:
        statuses = [(await gateway.call("GET", "/v1/chats")).status for _ in range(4)]
        assert statuses == [401, 401, 401, 429]


async def test_junk_tokens_of_an_address_do_not_refuse_the_signed_in_user_behind_it(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=3, rate_limit_per_minute=3) as gateway:
        junk = {"Authorization": "Bearer x.y.z"}
        statuses = [(await gateway.call("GET", "/v1/chats", headers=junk)).status for _ in range(5)]
        mine = [(await gateway.call("GET", "/v1/chats", headers=gateway.headers())).status for _ in range(4)]

        assert statuses == [401, 401, 401, 429, 429]
        assert mine == [200, 200, 200, 429]


async def test_a_flood_at_a_path_of_signing_in_makes_others_of_the_address_wait_and_refuses_nobody(
    open_gateway: OpenGateway, behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turns, "WAITING", 3)
    async with open_gateway(rate_limit_per_address=3, auth_url=behind.url) as gateway:
        room, at_once, most = asyncio.Event(), 0, 0

        async def answer(request: web.Request) -> web.Response:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await room.wait()
            at_once -= 1
            return web.json_response({}, status=401 if b"junk" in gateway.behind.bodies[-1] else 200)

        async def sign_in(password: str) -> int:
            return (await gateway.call("POST", "/v1/auth/login", json={"password": password})).status

        async def waiting(count: int) -> bool:
            return sum(lane.waiting for lane in gateway.container.limits.turns._lanes.values()) == count

        gateway.behind.answer = answer
        room.set()
        assert [await sign_in("junk") for _ in range(3)] == [401] * 3  # the limit is used up
        assert [await sign_in("junk"), await sign_in("right")] == [401, 200]
        room.clear()
        flood = [asyncio.create_task(sign_in("junk")) for _ in range(Turns.AT_ONCE + 2)]
        await eventually(lambda: waiting(2))
        mine = asyncio.create_task(sign_in("right"))
        await eventually(lambda: waiting(3))
        assert await sign_in("one too many") == 429
        room.set()
        assert set(await asyncio.gather(*flood)) == {401}
        assert (await mine, most) == (200, Turns.AT_ONCE)


def concrete(template: str) -> str:
    return re.sub(r"{\w+}", lambda _: uuid7().hex, template)


SIGN_IN = [row.path for row in TABLE if row.service == "auth" and row.action == "public"]


def test_every_path_of_signing_in_is_known_by_what_it_is_asked_for_with() -> None:
    """R26: paths with parameters, too."""
    assert any("{" in template for template in SIGN_IN)
    for template in SIGN_IN:
        found = [SignIn.find(concrete(template)) for _ in range(2)]
        assert [place and place.template for place in found] == [template] * 2
        assert SignIn.find(f"{concrete(template)}/more") is None


async def test_each_path_of_signing_in_counts_for_itself_whatever_its_parameters_are(
    open_gateway: OpenGateway, behind: Behind
) -> None:
    async with open_gateway(rate_limit_per_address=100, auth_url=behind.url) as gateway:
        await gateway.call("GET", "/v1/chats")
        left = {
            template: [
                (await gateway.call(method, concrete(template))).headers["RateLimit-Remaining"] for _ in range(2)
            ]
            for template, method in ((row.path, row.methods[0]) for row in TABLE if row.path in SIGN_IN)
        }
        assert left == {template: ["99", "98"] for template in SIGN_IN}


async def test_one_tenants_slow_provider_keeps_nobody_elses_from_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turns, "WAITING", 2)
    turns = Turns()

    def turn_of(tenant: str) -> Turn:
        place = SignIn.find(f"/v1/auth/oidc/{tenant}/{uuid7()}/start")
        assert place is not None
        return turns.turn_of("192.0.2.1", place)

    slow = [turn_of("slow") for _ in range(Turns.AT_ONCE // 2)]
    for turn in slow:
        await turn.take()
    one_more = turn_of("slow")
    waiting = asyncio.create_task(one_more.take())
    await eventually(lambda: sum(lane.waiting for lane in turns._lanes.values()) == 2)
    with pytest.raises(RateLimited):
        await turn_of("slow").take()
    others = [turn_of(tenant) for tenant in ("fast", "other")]
    for turn in others:
        await turn.take()
    assert not waiting.done()
    slow[0].end()
    await waiting


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")


@pytest.mark.usefixtures("behind_a_proxy")
async def test_the_addresses_of_an_ipv6_network_count_as_one(open_gateway: OpenGateway) -> None:
    def at(host: int, **more: str) -> dict[str, Any]:
        return more | {"X-Forwarded-For": f"2001:db8:0:1::{host:x}"}

    elsewhere = {"X-Forwarded-For": "2001:db8:0:2::1"}
    async with open_gateway(rate_limit_per_address=3, max_sockets_per_address=2) as gateway, AsyncExitStack() as stack:
        async with asyncio.timeout(30):
            statuses = [(await gateway.call("GET", "/v1/chats", headers=at(host))).status for host in range(4)]
            other = await gateway.call("GET", "/v1/chats", headers=elsewhere)
            for host in range(2):
                headers = at(host, **gateway.mint.headers())
                await stack.enter_async_context(connect(gateway.ws_url, additional_headers=headers))
            with pytest.raises(InvalidStatus) as refused:
                await stack.enter_async_context(connect(gateway.ws_url, additional_headers=at(3)))
            for host in range(4):
                junk = at(host, **{"X-API-Key": new_api_key(uuid7()).text})
                await gateway.call("GET", "/v1/chats", headers=junk)
    assert statuses == [401, 401, 401, 429]
    assert other.status == 401
    assert refused.value.response.status_code == 429
    assert len(gateway.mint.exchanged) == 3
