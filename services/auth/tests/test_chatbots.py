"""Credentials of chatbots: a key that asks this chatbot alone, and visitors of the pages that may show it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.chatbots.errors import TooManyVisitors
from docuchat_auth.chatbots.service import Chatbots
from docuchat_auth.tenants.errors import TenantNotFound
from docuchat_common.contracts.chatbots import ChatbotNotFound, path_of, publishable_id, rotate_path_of
from docuchat_common.errors import RequestTimeout
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.identity import InvalidApiKey, OriginNotAllowed
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.rate_limits import RateLimiter, parse_rates
from docuchat_common.redis import open_redis
from docuchat_testkit.eventually import SLOWLY
from docuchat_testkit.identity import INTERNAL_TOKEN

from .test_revisions import claims_of

HOUR = timedelta(hours=1)
SHOP, BLOG = "https://shop.example.com", "https://blog.example.com"
HERE = "192.0.2.7"


class Bots:
    """The slice on a database, with a tenant and one of its admins."""

    def __init__(self, world: Any, limiter: RateLimiter) -> None:
        self.world = world
        self.limiter = limiter
        self.keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
        self.allow("1000/m")

    def allow(self, rate: str) -> None:
        world, rates = self.world, parse_rates(rate)
        self.service = Chatbots(world.uow, self.keys, world.keys, world.revisions, self.limiter, world.clock, rates)

    async def begin(self) -> "Bots":
        self.tenant = await self.world.tenant()
        self.admin: Caller = await self.world.new_admin(self.tenant)
        return self

    async def make(self, origins: Sequence[str] = (SHOP,)) -> tuple[UUID, str]:
        chatbot = uuid7()
        _, text = await self.service.put(self.tenant.id, chatbot, origins, self.admin)
        assert text is not None
        return chatbot, text

    async def claims(self, text: str) -> dict[str, Any]:
        return claims_of((await self.keys.exchange(text, HERE)).access_token)

    async def is_refused(self, text: str) -> bool:
        try:
            await self.claims(text)
        except InvalidApiKey:
            return True
        return False

    async def visit(self, chatbot: UUID, origin: str | None = SHOP, shown: str | None = None) -> tuple[str, UUID]:
        visit = await self.service.admit(chatbot, origin, HERE, shown)
        return visit.token, visit.visitor_id

    async def told(self) -> set[tuple[str, str, int, str]]:
        page = await self.world.revisions.list_after(None)
        return {(item.kind, item.subject, item.version, item.state) for item in page.items}


@pytest.fixture
async def bots(make_world: Any, redis_url: str) -> Any:
    async with (
        open_redis(redis_url, client_name="test-auth", timeout=SLOWLY) as client,
        RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=60)) as limiter,
    ):
        yield await Bots(await make_world(), limiter).begin()


async def test_a_key_asks_its_chatbot_and_does_nothing_else(bots: Bots) -> None:
    chatbot, text = await bots.make()
    claims = await bots.claims(text)
    assert {name: claims[name] for name in ("sub", "sub_type", "role", "scope", "tenant", "groups")} == {
        "sub": str(chatbot),
        "sub_type": "chatbot",
        "role": "chatbot",
        "scope": "chatbots.ask chats.follow mcp.use models.use",
        "tenant": bots.tenant.id,
        "groups": [],
    }
    (key,) = await bots.keys.list_after(bots.admin, None, 10)
    assert (claims["key"], claims["sid"]) == (str(key.id), str(key.secrets[0].id))
    assert (key.chatbot_id, key.role, key.user_id, key.created_by) == (chatbot, None, None, bots.admin.subject_id)
    assert await bots.keys.list_after(Caller(bots.tenant.id, "user", uuid4(), role="member"), None, 10) == []


async def test_what_is_said_of_a_chatbot_may_be_said_again(bots: Bots) -> None:
    chatbot, text = await bots.make()
    key, again = await bots.service.put(bots.tenant.id, chatbot, [SHOP, BLOG], bots.admin)
    assert again is None and key is not None and not await bots.is_refused(text)
    assert await bots.visit(chatbot, BLOG)
    assert [kind for kind, *_ in await bots.told()] == []  # nobody lost anything
    for _ in range(2):
        await bots.service.delete(bots.tenant.id, chatbot)
    assert await bots.is_refused(text)
    with pytest.raises(ChatbotNotFound):
        await bots.visit(chatbot)
    with pytest.raises(ChatbotNotFound):
        await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
    assert await bots.told() >= {("chatbot", str(chatbot), 0, "ended"), ("key", str(key.id), 0, "ended")}
    names = [event.action for event in await bots.world.events() if event.type == "audit.recorded.v1"]
    assert [name for name in names if name.startswith("api_key")] == ["api_key.create"]
    with pytest.raises(TenantNotFound):
        await bots.service.put(TenantId(99), uuid7(), [], bots.admin)


async def test_the_audit_log_names_who_had_a_chatbots_key_made_whatever_that_is(bots: Bots) -> None:
    chatbot = uuid7()
    program = Caller(bots.tenant.id, "key", uuid7())
    itself = Caller(bots.tenant.id, "chatbot", chatbot)
    await bots.service.put(bots.tenant.id, chatbot, [SHOP], itself)
    await bots.service.rotate(bots.tenant.id, chatbot, HOUR, program)
    await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
    told = [event for event in await bots.world.events() if event.type == "audit.recorded.v1"]
    assert [
        (event.action, event.subject_type, event.subject_id) for event in told if event.action.startswith("api_key")
    ] == [
        ("api_key.create", "chatbot", chatbot),
        ("api_key.rotate", "key", program.subject_id),
        ("api_key.rotate", "user", bots.admin.subject_id),
    ]


async def test_both_keys_work_within_the_overlap_and_then_the_newer_one_alone(bots: Bots) -> None:
    chatbot, first = await bots.make()
    _, other_bots = await bots.make()
    key, second = await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
    assert [secret.ends_at is None for secret in key.secrets] == [True, False]
    for text in (first, second):
        assert (await bots.claims(text))["sub"] == str(chatbot)
    bots.world.clock.advance(minutes=58)
    assert (await bots.claims(first))["exp"] <= (bots.world.clock.now() + timedelta(minutes=2)).timestamp()
    bots.world.clock.advance(minutes=2)
    assert await bots.is_refused(first)
    _, third = await bots.service.rotate(bots.tenant.id, chatbot, timedelta(0), bots.admin)
    assert (await bots.is_refused(second), await bots.is_refused(third)) == (True, False)
    assert len((await bots.service.put(bots.tenant.id, chatbot, [SHOP], bots.admin))[0].secrets) == 1
    assert not await bots.is_refused(other_bots)


async def test_a_rotation_whose_answer_was_lost_ends_nothing_that_is_in_use(bots: Bots) -> None:
    chatbot, used = await bots.make()
    for _ in range(2):
        key, newest = await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
        bots.world.clock.advance(minutes=1)
    assert (await bots.is_refused(used), await bots.is_refused(newest), len(key.secrets)) == (False, False, 3)
    bots.world.clock.advance(minutes=58)
    assert await bots.is_refused(used)
    await bots.service.rotate(bots.tenant.id, chatbot, timedelta(seconds=30), bots.admin)
    bots.world.clock.advance(seconds=30)
    assert await bots.is_refused(newest)
    for _ in range(7):
        key, _ = await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
    assert len(key.secrets) == 6


async def test_what_a_frozen_process_comes_to_late_is_not_done(bots: Bots) -> None:
    chatbot, _ = await bots.make()
    asked = bots.world.clock.now() + timedelta(seconds=10)
    _, given = await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin, asked)
    bots.world.clock.advance(seconds=11)
    with pytest.raises(RequestTimeout):
        await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin, asked)
    for late in (chatbot, uuid7()):
        with pytest.raises(RequestTimeout):
            await bots.service.put(bots.tenant.id, late, [BLOG], bots.admin, asked)
        with pytest.raises(OriginNotAllowed if late == chatbot else ChatbotNotFound):
            await bots.visit(late, BLOG)
    bots.world.clock.advance(hours=2)
    assert not await bots.is_refused(given), "no secret that nobody was shown took its place"


async def test_a_chatbots_key_is_rotated_at_the_chatbot_and_another_is_made_when_it_was_revoked(bots: Bots) -> None:
    chatbot, text = await bots.make()
    (key,) = await bots.keys.list_after(bots.admin, None, 10)
    with pytest.raises(NotAllowed, match="at the chatbot"):
        await bots.keys.rotate(bots.admin, key.id, HOUR)
    await bots.keys.revoke(bots.admin, key.id)
    assert await bots.is_refused(text)
    assert await bots.service.put(bots.tenant.id, chatbot, [SHOP], bots.admin) == (None, None)
    made, other = await bots.service.rotate(bots.tenant.id, chatbot, HOUR, bots.admin)
    assert made.id != key.id and (await bots.claims(other))["sub"] == str(chatbot)


async def test_a_visitor_comes_from_a_page_of_the_list(bots: Bots) -> None:
    chatbot, _ = await bots.make()
    token, visitor = await bots.visit(chatbot)
    claims = claims_of(token)
    assert (claims["sub"], claims["sub_type"], claims["role"]) == (str(visitor), "visitor", "visitor")
    assert (claims["chatbot"], claims["origin"], claims["ver"]) == (str(chatbot), SHOP, 0)
    assert (claims["exp"] - claims["iat"], claims["scope"]) == (900, "chatbots.ask chats.follow")
    for origin in (None, BLOG, "null", f"{SHOP}.evil.example", "http://shop.example.com"):
        with pytest.raises(OriginNotAllowed):
            await bots.visit(chatbot, origin)
    nowhere, _ = await bots.make(origins=())
    with pytest.raises(OriginNotAllowed):
        await bots.visit(nowhere)


async def test_a_visitor_renews_the_own_token_and_nobody_elses(bots: Bots) -> None:
    chatbot, _ = await bots.make([SHOP, BLOG])
    other, _ = await bots.make([SHOP])
    token, visitor = await bots.visit(chatbot)
    bots.world.clock.advance(hours=20)  # long expired
    renewed, same = await bots.visit(chatbot, SHOP, token)
    assert same == visitor and claims_of(renewed)["exp"] > bots.world.clock.now().timestamp()
    assert (await bots.visit(chatbot, BLOG, token))[1] != visitor  # copied to another page
    assert (await bots.visit(other, SHOP, token))[1] != visitor  # to another chatbot
    access = (await bots.world.sign_in_as(bots.tenant, "ann@example.com")).access_token
    head, body, signature = token.split(".")
    forged = ".".join((head, body, signature[::-1]))
    kid = {"kid": jwt.get_unverified_header(token)["kid"]}
    unsigned = jwt.encode(claims_of(token), None, algorithm="none", headers=kid)
    by_public_key = jwt.encode(claims_of(token), kid["kid"] * 2, algorithm="HS256", headers=kid)
    for shown in (access, forged, unsigned, by_public_key, "junk", "a.b.c", ""):
        assert (await bots.visit(chatbot, SHOP, shown))[1] != visitor
    bots.world.clock.advance(days=30)
    assert (await bots.visit(chatbot, SHOP, token))[1] != visitor


async def test_a_page_that_may_show_it_no_more_takes_its_tokens_with_it(bots: Bots) -> None:
    chatbot, text = await bots.make([SHOP, BLOG])
    old, visitor = await bots.visit(chatbot, BLOG)
    await bots.service.put(bots.tenant.id, chatbot, [SHOP], bots.admin)
    assert await bots.told() == {("chatbot", str(chatbot), 1, "changed")}
    assert claims_of(old)["ver"] == 0
    with pytest.raises(OriginNotAllowed):
        await bots.visit(chatbot, BLOG, old)
    assert claims_of((await bots.visit(chatbot))[0])["ver"] == 1
    assert not await bots.is_refused(text)
    await bots.service.put(bots.tenant.id, chatbot, [SHOP, BLOG], bots.admin)
    assert (await bots.visit(chatbot, BLOG, old))[1] == visitor


async def test_an_address_is_given_so_many_tokens(bots: Bots) -> None:
    chatbot, _ = await bots.make()
    bots.allow("2/m")
    for _ in range(2):
        await bots.visit(chatbot)
    with pytest.raises(TooManyVisitors):
        await bots.visit(chatbot)
    with pytest.raises(TooManyVisitors):
        await bots.visit(uuid4())


async def test_over_http(auth: Any) -> None:
    chatbot, inside = uuid7(), {"X-Internal-Token": INTERNAL_TOKEN}
    wanted = {"tenant_id": 1, "origins": ["https://Shop.example.com:443"], "made_by": str(uuid4())}
    assert (await auth.http.put(path_of(chatbot), json=wanted)).status_code == 403
    made = await auth.http.put(path_of(chatbot), json=wanted, headers=inside)
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store"), made.text
    secret = made.json()["secret_key"]
    again = (await auth.http.put(path_of(chatbot), json=wanted, headers=inside)).json()
    assert (again["secret_key"], again["key"]) == (None, made.json()["key"])
    wrong = await auth.http.put(path_of(chatbot), json=wanted | {"origins": ["shop"]}, headers=inside)
    assert wrong.status_code == 422

    body = {"tenant_id": 1, "overlap_seconds": 60, "by": str(uuid4())}
    rotated = await auth.http.post(rotate_path_of(chatbot), json=body, headers=inside)
    assert rotated.json()["secret_key"].startswith("dck_") and len(rotated.json()["key"]["secrets"]) == 2

    late = {"valid_until": "2026-01-01T00:00:00Z"}
    assert (await auth.http.put(path_of(chatbot), json=wanted | late, headers=inside)).status_code == 408
    assert (await auth.http.post(rotate_path_of(chatbot), json=body | late, headers=inside)).status_code == 408

    path = f"/v1/public/chatbots/{publishable_id(chatbot)}/visitors"
    visit = await auth.http.post(path, headers={"Origin": SHOP})
    assert (visit.status_code, visit.json()["expires_in"], visit.headers["cache-control"]) == (201, 900, "no-store")
    token = visit.json()["visitor_token"]
    renewed = await auth.http.post(path, json={"visitor_token": token}, headers={"Origin": SHOP})
    assert renewed.json()["visitor_id"] == visit.json()["visitor_id"]
    twice = [("Origin", SHOP), ("Origin", BLOG)]
    for headers in ({}, {"Origin": BLOG}, twice):
        refused = await auth.http.post(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "origin_not_allowed")
    for nobody in (publishable_id(uuid4()), "pub_", "junk"):
        missing = await auth.http.post(f"/v1/public/chatbots/{nobody}/visitors", headers={"Origin": SHOP})
        assert (missing.status_code, missing.json()["code"]) == (404, "chatbot_not_found")

    gone = await auth.http.delete(path_of(chatbot), params={"tenant_id": 1}, headers=inside)
    assert gone.status_code == 204
    assert (await auth.http.post(path, headers={"Origin": SHOP})).status_code == 404
    assert await auth.query("SELECT 1 FROM auth.api_keys") == []
    for told in (secret, rotated.json()["secret_key"], token):
        assert told not in auth.log()
