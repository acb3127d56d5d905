"""A token is believed as long as it says and as its key is published, and for no longer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import aiohttp
import pytest

from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.identity import InvalidToken, OperatorRequired, OperatorToken, TokenExpired, TokenVerifier
from docuchat_testkit.identity import AUDIENCE, ISSUER, TokenMint


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
            session, token_mint.jwks_url, issuer=ISSUER, audience=AUDIENCE, clock=time, elapsed=time.elapsed
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


async def test_keys_are_asked_for_again_after_five_minutes_even_for_a_remembered_token(
    verifier: TokenVerifier, token_mint: TokenMint, time: Time
) -> None:
    token = token_mint.token()
    await verifier.verify(token)
    token_mint.rotate(keep_old=False)
    time.passed = timedelta(seconds=301)
    with pytest.raises(InvalidToken):
        await verifier.verify(token)


async def test_an_access_token_is_a_user_of_its_tenant(verifier: TokenVerifier, token_mint: TokenMint) -> None:
    user = uuid4()
    identity = await verifier.verify(token_mint.token(tenant_id=7, tenant_slug="seven", user_id=user, role="admin"))
    caller = identity.caller
    assert (caller.tenant_id, caller.subject_type, caller.user_id, caller.role) == (7, "user", user, "admin")
    assert identity.tenant_slug == "seven"
    assert caller.can("documents.manage")


async def test_an_operators_token_opens_nothing_of_a_tenant_and_no_tenants_token_opens_what_is_the_operators(
    verifier: TokenVerifier, token_mint: TokenMint
) -> None:
    operator = uuid4()
    token = operator_token(token_mint, operator)
    identity = await verifier.verify_operator(token)
    assert (identity.caller.tenant_id, identity.caller.subject_type) == (NO_TENANT, "operator")
    assert identity.caller.user_id is None
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
