"""A token is believed as long as it says and as its key is published, and for no longer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.datastructures import Headers

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.claims import InvalidToken
from docuchat_common.http.identity import (
    OperatorRequired,
    OperatorToken,
    OriginNotAllowed,
    TokenExpired,
    TokenVerifier,
    assert_same_origin,
    keys_of_auth,
)
from docuchat_common.settings import ServiceSettings
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import AUDIENCE, ISSUER, PAGE, TokenMint

CHATBOT = uuid4()


@dataclass
class Time:
    """Time that passes when told to."""

    passed: timedelta = field(default_factory=timedelta)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.passed

    def elapsed(self) -> float:
        return 1000 + self.passed.total_seconds()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def verifier(token_mint: TokenMint, time: Time) -> AsyncIterator[TokenVerifier]:
    async with aiohttp.ClientSession() as session:
        yield TokenVerifier(
            keys_of_auth(session, token_mint.jwks_url),
            issuer=ISSUER,
            audience=AUDIENCE,
            clock=time,
            elapsed=time.elapsed,
        )


def operator_token(mint: TokenMint, operator: UUID) -> str:
    tenant = {"tenant": None, "tenant_slug": None, "role": None, "email": None}
    return mint.token(user_id=operator, claims={**tenant, "typ": "operator", "scope": "operator"})


async def test_a_remembered_token_is_refused_once_it_has_expired(
    verifier: TokenVerifier, token_mint: TokenMint, time: Time
) -> None:
    token = token_mint.token(lifetime_seconds=60)
    assert await verifier.verify(token) is await verifier.verify(token)
    time.passed = timedelta(seconds=61)
    with pytest.raises(TokenExpired):
        await verifier.verify(token)


async def test_a_remembered_token_is_refused_as_soon_as_its_key_is_seen_to_be_withdrawn(
    verifier: TokenVerifier, token_mint: TokenMint, time: Time
) -> None:
    old = token_mint.token()
    await verifier.verify(old)
    token_mint.rotate(keep_old=False)
    time.passed = timedelta(seconds=3)  # an unknown key may be asked for again
    await verifier.verify(token_mint.token())
    with pytest.raises(InvalidToken):
        await verifier.verify(old)


async def test_a_process_begins_with_the_keys_of_an_auth_that_is_late(
    token_mint: TokenMint, service_environment: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service_environment("usage").items():
        monkeypatch.setenv(name, value)
    asked = 0

    async def published() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise TimeoutError
        async with aiohttp.ClientSession() as session:
            return await keys_of_auth(session, token_mint.jwks_url)()

    settings = ServiceSettings()
    async with TokenVerifier.open(settings, published=published) as verifier:
        assert asked == 3
        await verifier.verify(token_mint.token())
    asked = -1_000_000
    async with TokenVerifier.open(settings, published=published, patience=timedelta(seconds=0.3)) as verifier:
        with pytest.raises(UpstreamUnavailable):
            await verifier.check()


async def test_keys_are_asked_for_again_by_themselves(
    token_mint: TokenMint, service_environment: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service_environment("usage").items():
        monkeypatch.setenv(name, value)
    async with TokenVerifier.open(ServiceSettings(), refresh_every=timedelta(milliseconds=50)) as verifier:
        token = token_mint.token()
        await verifier.verify(token)
        token_mint.rotate(keep_old=False)

        async def is_refused() -> bool:
            try:
                await verifier.verify(token)
            except InvalidToken:
                return True
            return False

        await eventually(is_refused)


async def test_an_auth_service_that_is_silent_is_asked_by_one_request_and_known_keys_serve_on(
    token_mint: TokenMint, time: Time
) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
        async with session.get(token_mint.jwks_url) as response:
            keys = await response.json()
        asked = 0
        is_silent = False

        async def answer(_: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            if is_silent:
                await asyncio.Event().wait()
            return web.json_response(keys)

        server = TestServer(web.Application())
        server.app.router.add_get("/keys", answer)
        async with server:
            verifier = TokenVerifier(
                keys_of_auth(session, str(server.make_url("/keys"))),
                issuer=ISSUER,
                audience=AUDIENCE,
                clock=time,
                elapsed=time.elapsed,
            )
            known = token_mint.token()
            await verifier.verify(known)
            token_mint.rotate()
            is_silent, asked = True, 0
            time.passed = timedelta(minutes=6)
            unknown = [token_mint.token() for _ in range(5)]
            answers = await asyncio.gather(*map(verifier.verify, unknown), return_exceptions=True)
            assert [type(answer) for answer in answers] == [UpstreamUnavailable] * len(unknown)
            with pytest.raises(UpstreamUnavailable):
                await verifier.verify(unknown[0])  # the pause has not passed
            assert (await verifier.verify(known)).token == known
            assert asked == 1


async def test_tokens_of_an_unknown_key_are_one_question_to_auth_every_two_seconds(
    token_mint: TokenMint, time: Time
) -> None:
    async with aiohttp.ClientSession() as session:
        published, asked = keys_of_auth(session, token_mint.jwks_url), 0

        async def counted() -> dict[str, Any]:
            nonlocal asked
            asked += 1
            return await published()

        verifier = TokenVerifier(counted, issuer=ISSUER, audience=AUDIENCE, clock=time, elapsed=time.elapsed)
        forged = [
            jwt.encode({}, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": f"{number}"})
            for number in range(20)
        ]
        for token in forged:
            with pytest.raises(InvalidToken):
                await verifier.verify(token)
        assert asked == 1
        time.passed = timedelta(seconds=3)
        for token in forged:
            with pytest.raises(InvalidToken):
                await verifier.verify(token)
        assert asked == 2


@pytest.mark.parametrize("claim", ["iss", "aud"])
async def test_a_token_of_another_issuer_or_for_another_audience_is_refused(
    verifier: TokenVerifier, token_mint: TokenMint, claim: str
) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(token_mint.token(claims={claim: "elsewhere"}))


async def test_an_access_token_is_a_user_of_its_tenant(verifier: TokenVerifier, token_mint: TokenMint) -> None:
    user = uuid4()
    identity = await verifier.verify(token_mint.token(tenant_id=7, tenant_slug="seven", user_id=user, role="admin"))
    caller = identity.caller
    assert (caller.tenant_id, caller.subject_type, caller.user_id, caller.role) == (7, "user", user, "admin")
    assert identity.tenant_slug == "seven"
    assert caller.can("documents.manage")
    assert (caller.version, caller.groups, caller.session_id, caller.scopes) == (0, frozenset(), None, None)


async def test_a_token_names_groups_session_and_version(verifier: TokenVerifier, token_mint: TokenMint) -> None:
    group, session = uuid4(), uuid4()
    claims = {"ver": 3, "groups": [str(group)], "sid": str(session), "sub_type": "user"}
    caller = (await verifier.verify(token_mint.token(claims=claims))).caller
    assert (caller.version, caller.groups, caller.session_id) == (3, frozenset({group}), session)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("key", {}), ("visitor", {"chatbot": str(CHATBOT), "origin": PAGE}), ("chatbot", {"key": str(uuid4())})],
)
async def test_who_is_no_user_may_only_what_the_token_names(
    verifier: TokenVerifier, token_mint: TokenMint, kind: str, more: dict[str, str]
) -> None:
    claims = {"sub_type": kind, **more}
    bare = (await verifier.verify(token_mint.token(role="owner", claims=claims))).caller
    scoped = token_mint.token(role="owner", claims={**claims, "scope": "chats.use usage.read"})
    caller = (await verifier.verify(scoped)).caller
    assert not bare.can("chats.use")
    assert (caller.subject_type, caller.user_id) == (kind, None)
    assert caller.can("chats.use")
    assert not caller.can("documents.read")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub_type": "operator"},
        {"groups": ["x"]},
        {"groups": 3},
        {"sid": "x"},
        {"ver": "x"},
        {"ver": [1]},
        {"sub_type": "visitor", "origin": PAGE},
        {"sub_type": "visitor", "chatbot": str(CHATBOT)},
        {"sub_type": "visitor", "chatbot": str(CHATBOT), "origin": 1},
        {"sub_type": "chatbot"},
    ],
)
async def test_claims_that_nobody_signs_are_refused(
    verifier: TokenVerifier, token_mint: TokenMint, claims: dict[str, object]
) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(token_mint.token(claims=claims))


async def test_a_chatbots_key_and_visitor_are_the_chatbots(verifier: TokenVerifier, token_mint: TokenMint) -> None:
    key = uuid4()
    program = (await verifier.verify(token_mint.chatbot_token(CHATBOT, claims={"key": str(key)}))).caller
    assert (program.subject_type, program.subject_id, program.chatbot_id, program.key_id) == (
        "chatbot",
        CHATBOT,
        CHATBOT,
        key,
    )
    guest = (await verifier.verify(token_mint.visitor_token(CHATBOT))).caller
    assert (guest.subject_type, guest.chatbot_id, guest.key_id) == ("visitor", CHATBOT, None)
    assert program.can("chatbots.ask") and guest.can("chatbots.ask")


@pytest.mark.parametrize(
    ("sent", "is_let_in"),
    [
        ([PAGE], True),
        ([], False),
        (["https://evil.example"], False),
        ([PAGE + ".evil.example"], False),
        (["null"], False),
        ([PAGE, "https://evil.example"], False),
        (["https://evil.example", PAGE], False),
    ],
)
async def test_a_visitors_token_is_good_on_the_pages_it_was_made_for(
    verifier: TokenVerifier, token_mint: TokenMint, sent: list[str], is_let_in: bool
) -> None:
    headers = Headers(raw=[(b"origin", origin.encode()) for origin in sent])
    identity = await verifier.verify(token_mint.visitor_token(CHATBOT))
    with nullcontext() if is_let_in else pytest.raises(OriginNotAllowed):
        assert_same_origin(identity, headers)
    assert_same_origin(await verifier.verify(token_mint.token()), headers)
    assert_same_origin(await verifier.verify(token_mint.chatbot_token(CHATBOT)), headers)


@pytest.mark.parametrize(
    ("sent", "is_let_in"),
    [
        ({"referer": f"{PAGE}/shop?a=1#b", "sec-fetch-site": "same-origin"}, True),
        ({"referer": f"{PAGE}/", "sec-fetch-site": "same-origin"}, True),
        ({"referer": PAGE}, True),  # browsers of before 2023 do not say the site
        ({"sec-fetch-site": "same-origin"}, False),
        ({"referer": PAGE, "sec-fetch-site": "cross-site"}, False),
        ({"referer": PAGE, "sec-fetch-site": "same-site"}, False),
        ({"referer": PAGE, "origin": "null"}, False),
        ({"referer": PAGE, "origin": "https://evil.example"}, False),
        ({"referer": "https://evil.example/?https://shop.example.com"}, False),
        ({"referer": f"{PAGE}.evil.example/"}, False),
        ({"referer": "http://[", "sec-fetch-site": "same-origin"}, False),
    ],
)
async def test_where_a_browser_says_no_origin_the_page_is_the_one_that_it_comes_from(
    verifier: TokenVerifier, token_mint: TokenMint, sent: dict[str, str], is_let_in: bool
) -> None:
    identity = await verifier.verify(token_mint.visitor_token(CHATBOT))
    with nullcontext() if is_let_in else pytest.raises(OriginNotAllowed):
        assert_same_origin(identity, Headers(sent))


async def test_an_operators_token_opens_nothing_of_a_tenant_and_no_tenants_token_opens_what_is_the_operators(
    verifier: TokenVerifier, token_mint: TokenMint
) -> None:
    operator = uuid4()
    token = operator_token(token_mint, operator)
    identity = await verifier.verify_operator(token)
    assert (identity.caller.tenant_id, identity.caller.subject_type) == (NO_TENANT, "operator")
    assert identity.caller.user_id is None
    assert await verifier.identify(token) == identity
    for _ in range(2):  # fresh, then remembered
        with pytest.raises(OperatorToken):
            await verifier.verify(token)
        with pytest.raises(OperatorRequired):
            await verifier.verify_operator(token_mint.token(role="owner"))


@pytest.mark.parametrize("missing", ["tenant", "tenant_slug", "role"])
async def test_an_access_token_without_its_tenant_is_refused(
    verifier: TokenVerifier, token_mint: TokenMint, missing: str
) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(token_mint.token(claims={missing: None}))


async def test_other_kinds_of_token_are_refused(verifier: TokenVerifier, token_mint: TokenMint) -> None:
    with pytest.raises(InvalidToken, match="not the refresh token"):
        await verifier.verify(token_mint.token(claims={"typ": "refresh"}))
