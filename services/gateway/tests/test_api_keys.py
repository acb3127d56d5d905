"""API keys at the gateway: one place turns them into tokens, and forgets them when auth takes them back."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway
from services.gateway.tests.fakes import Behind, Chat
from websockets.asyncio.client import connect

from docuchat_common.contracts.api_keys import KeyToken, new_api_key, parse_api_key
from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import InvalidApiKey, TokenVerifier
from docuchat_common.rate_limits import Limit, Rate, RateDecision
from docuchat_gateway.edge.api_keys import ApiKeyIdentities
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import TokenMint

CHATS = "chats.use documents.add documents.read"


def id_of(key: str) -> uuid.UUID:
    parsed = parse_api_key(key)
    assert parsed is not None
    return parsed.id


async def answer(gateway: Gateway, headers: Any, method: str = "GET", path: str = "/v1/chats") -> Any:
    async with gateway.http.request(method, path, headers=headers) as response:
        return response.status, (await response.json()).get("code")


async def test_a_key_is_taken_in_either_header_and_goes_no_further(gateway: Gateway, behind: Behind) -> None:
    key = gateway.mint.make_key("chats.use")
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"x-api-key": f" {key}"}):
        assert await answer(gateway, headers) == (200, None)
        forwarded = behind.seen[-1].headers
        assert "X-API-Key" not in forwarded and forwarded["Authorization"].count(".") == 2
    assert gateway.mint.exchanged == [key]
    assert await answer(gateway, {"X-API-Key": key}, path="/v1/files") == (403, "not_allowed")


async def test_two_credentials_are_refused_and_the_same_twice_is_one(gateway: Gateway) -> None:
    key, other = gateway.mint.make_key("chats.use"), gateway.mint.make_key("chats.use")
    for bearer in (other, gateway.mint.token()):
        both = {"X-API-Key": key, "Authorization": f"Bearer {bearer}"}
        assert await answer(gateway, both) == (422, "two_credentials")
    assert await answer(gateway, {"X-API-Key": key, "Authorization": f"Bearer {key}"}) == (200, None)


async def test_a_key_opens_the_socket_and_uploads(gateway: Gateway, behind: Behind) -> None:
    key, user = gateway.mint.make_key(CHATS), uuid.uuid4()
    of_user = gateway.mint.make_key(CHATS, claims={"user": str(user)})
    for shown in (key, of_user):
        uploaded = await gateway.upload(PDF, headers={"Authorization": f"Bearer {shown}"})
        assert uploaded.status == 202, await uploaded.text()
    uploaders = "SELECT array_agg(uploaded_by ORDER BY id) FROM knowledge.documents"
    assert await gateway.fetchval(uploaders) == [None, user]
    assert [[(subject.type, subject.id) for subject in hold.subjects] for hold in behind.holds.values()] == [
        [("key", str(id_of(key)))],
        [("key", str(id_of(of_user))), ("user", str(user))],
    ]

    Chat(behind)
    async with connect(gateway.ws_url, additional_headers={"X-API-Key": key}) as connection:
        await connection.send(json.dumps({"message": "?"}))
        assert json.loads(await connection.recv())["type"] == "start"
    async with connect(gateway.ws_url, additional_headers={"X-API-Key": "dck_nonsense"}) as connection:
        assert json.loads(await connection.recv())["code"] == "invalid_api_key"


async def test_a_socket_outlives_the_token_of_its_key(gateway: Gateway, behind: Behind) -> None:
    key = gateway.mint.make_key(CHATS, lifetime_seconds=2)
    Chat(behind)
    async with connect(gateway.ws_url, additional_headers={"X-API-Key": key}) as connection:

        async def renewed() -> bool:
            return len(gateway.mint.exchanged) > 1

        await eventually(renewed)
        gateway.mint.api_keys[key]["lifetime_seconds"] = 900
        await connection.send(json.dumps({"message": "?"}))
        assert json.loads(await connection.recv())["type"] == "start"


async def test_a_revoked_key_a_rotated_secret_and_a_changed_user_are_noticed(gateway: Gateway) -> None:
    user, secret = uuid.uuid4(), str(uuid.uuid4())
    revoked = gateway.mint.make_key("chats.use")
    rotated = gateway.mint.make_key("chats.use", claims={"sid": secret})
    of_user = gateway.mint.make_key("chats.use", claims={"user": str(user), "ver": 0})
    for key in (revoked, rotated, of_user):
        assert await answer(gateway, {"X-API-Key": key}) == (200, None)
    for key in (revoked, rotated):
        del gateway.mint.api_keys[key]
    gateway.mint.api_keys[of_user]["claims"] |= {"ver": 1, "scope": "documents.read"}
    gateway.mint.take_back("key", id_of(revoked))
    gateway.mint.take_back("key", secret)
    gateway.mint.take_back("user", user, state="changed", version=1)

    async def noticed() -> bool:
        answers = [await answer(gateway, {"X-API-Key": key}) for key in (revoked, rotated, of_user)]
        return answers == [(401, "invalid_api_key"), (401, "invalid_api_key"), (403, "not_allowed")]

    await eventually(noticed)


async def test_junk_counts_for_the_address_and_a_key_for_itself(open_gateway: OpenGateway) -> None:
    async with open_gateway(rate_limit_per_address=3, rate_limit_per_minute=3) as gateway:
        key = gateway.mint.make_key("chats.use")
        first = await answer(gateway, {"X-API-Key": key})
        junk = [await answer(gateway, {"X-API-Key": new_api_key(uuid.uuid4()).text}) for _ in range(5)]
        mine = [await answer(gateway, {"X-API-Key": key}) for _ in range(3)]
        assert first == (200, None)
        assert [status for status, _ in junk] == [401, 401, 401, 429, 429]
        assert [status for status, _ in mine] == [200, 200, 429]
        assert len(gateway.mint.exchanged) == 4


class Standing:
    age = 0.0

    def refusal(self, _: Any) -> None: ...


class World:
    """Identities over an auth that a test turns."""

    def __init__(self, mint: TokenMint) -> None:
        self.mint, self.seconds, self.room, self.asked = mint, 0.0, 100, 0
        self.is_away = False
        self.standing = Standing()
        self.good: set[bytes] = set()
        self.identities = self.another_gateway()

    def another_gateway(self) -> ApiKeyIdentities:
        return ApiKeyIdentities(self.exchange, self, self, self, elapsed=lambda: self.seconds)  # type: ignore[arg-type]

    async def knows(self, name: bytes) -> bool:
        return name in self.good

    async def note(self, name: bytes) -> None:
        self.good.add(name)

    async def exchange(self, key: str, address: str) -> KeyToken:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise UpstreamUnavailable
        if key not in self.mint.api_keys:
            raise InvalidApiKey
        return KeyToken(access_token=self.mint.token(**self.mint.api_keys[key]), expires_in=300)

    async def verify(self, token: str) -> Identity:
        async def published() -> dict[str, Any]:
            return self.mint.jwks()

        verifier = TokenVerifier(published, issuer="docuchat", audience="docuchat")
        return await verifier.verify(token)

    async def hit_new_key(self, address: str) -> RateDecision:
        limit = Limit("new-key", address, Rate(100, timedelta(minutes=1)))
        if self.room <= 0:
            return RateDecision(False, limit, 0, timedelta(seconds=1))
        self.room -= 1
        return RateDecision(True, limit, self.room, timedelta(seconds=1))

    async def forgive_new_key(self, _: str) -> None:
        self.room += 1

    async def identify(self, key: str, address: str = "192.0.2.1") -> Identity:
        return await self.identities.identify(key, address)


@pytest.fixture
def world() -> World:
    return World(TokenMint())


async def test_while_auth_is_silent_about_what_it_takes_back_an_identity_lives_two_seconds(world: World) -> None:
    key = world.mint.make_key("chats.use")
    await asyncio.gather(*(world.identify(key) for _ in range(20)))
    world.seconds = 200
    await world.identify(key)
    assert world.asked == 1
    world.standing.age, world.is_away = 1.1, True
    with pytest.raises(UpstreamUnavailable):
        await world.identify(key)
    world.is_away = False
    await world.identify(key)
    world.seconds, world.is_away = 202, True
    await world.identify(key)
    world.seconds = 202.1
    with pytest.raises(UpstreamUnavailable):
        await world.identify(key)


async def test_auth_is_asked_seldom_about_the_same_junk_and_not_at_all_about_what_is_no_key(world: World) -> None:
    junk = new_api_key(uuid.uuid4()).text
    for key in (junk, junk, "dck_", f"dck_{'0' * 32}_short"):
        with pytest.raises(InvalidApiKey):
            await world.identify(key)
    assert world.asked == 1
    world.seconds = 5
    world.mint.api_keys[junk] = {"claims": {"sub_type": "key", "scope": ""}}
    await world.identify(junk)


async def test_a_key_that_was_good_is_asked_about_where_strangers_have_used_up_the_address(world: World) -> None:
    key = world.mint.make_key("chats.use")
    await world.identify(key)
    world.room, world.standing.age, world.seconds = 0, 5, 3
    with pytest.raises(RateLimited):
        await world.identify(new_api_key(uuid.uuid4()).text)
    assert await world.identify(key)
    with pytest.raises(RateLimited):  # the address counts: from another the key was never good
        await world.identify(key, "192.0.2.2")


async def test_only_bad_keys_are_counted_and_a_good_one_is_taken_by_a_gateway_that_never_saw_it(world: World) -> None:
    keys = [world.mint.make_key("chats.use") for _ in range(3)]
    for key in keys:
        await asyncio.gather(*(world.identify(key) for _ in range(3)))
    world.is_away = True
    with pytest.raises(UpstreamUnavailable):
        await world.identify(new_api_key(uuid.uuid4()).text)
    assert world.room == 100
    world.is_away, world.room = False, 1
    for wanted in (InvalidApiKey, RateLimited):
        with pytest.raises(wanted):
            await world.identify(new_api_key(uuid.uuid4()).text)
    assert await world.another_gateway().identify(keys[0], "192.0.2.1")
    del world.mint.api_keys[keys[1]]  # that it was good opens nothing
    with pytest.raises(InvalidApiKey):
        await world.another_gateway().identify(keys[1], "192.0.2.1")
