"""The rate limit, on a real Redis."""

from __future__ import annotations

from services.gateway.tests.conftest import OpenGateway


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
