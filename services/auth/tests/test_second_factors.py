"""Second factors: no way to sign in leads around them, no code works twice, and strangers use up nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import jwt
import pyotp
import pytest

from docuchat_auth.codes.domain import Account, GuessBudget, challenge_name
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.logins.domain import Attempt
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.passwords.errors import InvalidCredentials
from docuchat_auth.passwords.hashing import PasswordPool
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.second_factors.domain import hash_recovery_code, new_recovery_code
from docuchat_auth.second_factors.errors import NoSecondFactor, TotpNotBegun, TotpNotFound
from docuchat_auth.second_factors.totp import matching_step
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.sessions.errors import InvalidRefreshToken, OtpInvalid, OtpRequired
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.domain import Email
from docuchat_auth.users.errors import UserGone
from docuchat_common.acts import Act, acting
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import RateLimiter, parse_rates

from .conftest import SECRET, World

ANN, BOB = "ann@example.com", "bob@example.com"
GOOD = "seven purple harbours"
HERE = "192.0.2.1"


def claims_of(pair: Any) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(pair.access_token, options={"verify_signature": False})
    return found


def caller_of(pair: Any) -> Caller:
    claims = claims_of(pair)
    tenant, user, session = TenantId(claims["tenant"]), UUID(claims["sub"]), UUID(claims["sid"])
    return Caller(tenant, "user", user, role=claims["role"], session_id=session)


@dataclass
class Phone:
    """An authenticator app of somebody, and the recovery codes on paper."""

    world: World
    secret: str
    recovery_codes: list[str]

    def shows(self, steps: int = 0) -> str:
        """What it shows now, or so many steps of 30 seconds later."""
        return pyotp.TOTP(self.secret).at(self.world.clock.now() + timedelta(seconds=30 * steps))

    def shows_next(self) -> str:
        """What it shows after a step that nobody has used."""
        self.world.clock.advance(seconds=60)
        return self.shows()


async def set_up(world: World, pair: Any) -> Phone:
    enrolment = await world.second_factors.begin_totp(caller_of(pair))
    phone = Phone(world, enrolment.secret, [])
    phone.recovery_codes += await world.second_factors.confirm_totp(caller_of(pair), phone.shows())
    return phone


async def demand(world: World, tenant: Tenant) -> None:
    await world.admin.execute("UPDATE auth.tenants SET require_second_factor = true WHERE id = $1", tenant.id)


@asynccontextmanager
async def passwords_of(world: World) -> AsyncIterator[tuple[Passwords, PasswordSignIn]]:
    """Passwords on the servers of the world."""
    client = world.codes._client
    async with (
        RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=30)) as limiter,
        PasswordPool.open(1, 64) as pool,
    ):
        attempts = Attempts(client, limiter, GuessBudget(5, 100), parse_rates("1000/h"))
        pseudonyms, refuse_after = KeyedPseudonyms(SECRET), timedelta(milliseconds=1)
        desk = world.sign_in._desk
        with acting(Act("session.start", str)):  # as a route does
            yield (
                Passwords(world.uow, pool, desk, world.sessions, limiter, world.clock, parse_rates("60/m")),
                PasswordSignIn(world.uow, world.sessions, pool, attempts, pseudonyms, world.clock, refuse_after),
            )


def attempt(tenant: Tenant, otp: str | None = None, password: str = GOOD) -> Attempt:
    return Attempt(tenant.id, Email(ANN), True, password, HERE, otp)


@pytest.mark.parametrize(
    ("moment", "digits"),
    [(1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_codes_are_those_of_rfc_6238(moment: int, digits: str) -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for off, is_right in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        found = matching_step(secret, digits, datetime.fromtimestamp(moment + off, UTC))
        assert found == (moment // 30 if is_right else None), off


async def test_a_password_is_not_enough_and_a_code_of_the_app_is_taken_once(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    async with passwords_of(world) as (passwords, sign_in):
        await passwords.change(caller_of(pair), None, GOOD, HERE)
        assert await sign_in.sign_in(attempt(tenant))
        phone = await set_up(world, pair)
        used = phone.shows()
        with pytest.raises(OtpRequired) as told:
            await sign_in.sign_in(attempt(tenant))
        assert told.value.extensions == {"methods": ["totp", "recovery_code"]}
        with pytest.raises(OtpInvalid):  # it has confirmed the app
            await sign_in.sign_in(attempt(tenant, used))
        early = phone.shows(1)
        assert await sign_in.sign_in(attempt(tenant, f"{early[:3]} {early[3:]}"))
        for again in (early, phone.shows(), phone.shows(-1)):
            with pytest.raises(OtpInvalid):
                await sign_in.sign_in(attempt(tenant, again))
        assert await sign_in.sign_in(attempt(tenant, phone.shows_next()))
        with pytest.raises(InvalidCredentials):  # and the other way round
            await sign_in.sign_in(attempt(tenant, phone.shows_next(), "not the password"))


async def test_wrong_codes_are_counted_and_only_who_knows_the_password_uses_them_up(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    async with passwords_of(world) as (passwords, sign_in):
        await passwords.change(caller_of(pair), None, GOOD, HERE)
        phone = await set_up(world, pair)
        for _ in range(11):  # a stranger
            with pytest.raises(InvalidCredentials):
                await sign_in.sign_in(attempt(tenant, "000000", "not the password"))
        for _ in range(11):  # no success is counted
            assert await sign_in.sign_in(attempt(tenant, phone.shows_next()))
        for wrong in ("no code at all", *["mfrg-gzdf-mztw-q2l"] * 9):
            with pytest.raises(OtpInvalid):
                await sign_in.sign_in(attempt(tenant, wrong))
        with pytest.raises(TooManyAttempts):
            await sign_in.sign_in(attempt(tenant, phone.shows_next()))
        with pytest.raises(OtpInvalid):
            await sign_in.sign_in(attempt(tenant, "mfrg-gzdf-mztw-q2lk"))
        assert await sign_in.sign_in(attempt(tenant, phone.recovery_codes[0]))  # nobody is kept from the last way in
        (ann,) = await world.users()
        await sign_in.forget_failures(ann)
        assert await sign_in.sign_in(attempt(tenant, phone.shows_next()))


async def test_a_mailed_code_does_not_get_around_it_and_stays_good_while_only_that_is_missing(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    phone = await set_up(world, await world.sign_in_as(tenant, ANN))
    code, challenge = await world.ask_with_challenge(tenant, ANN)

    async def verify(otp: str | None = None, shown: str | None = challenge) -> Any:
        return await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, shown, otp)

    with pytest.raises(OtpRequired):
        await verify()
    with pytest.raises(OtpInvalid):
        await verify("no code at all")
    kept = f"{world.codes._prefix(Account(tenant.id, Email(ANN)))}:{challenge_name(challenge)}"
    left = await world.codes._client.pttl(kept)
    assert 0 < left <= 600_000  # no longer than it had
    assert claims_of(await verify(phone.shows_next()))["email"] == ANN
    with pytest.raises(InvalidCode):
        await verify(phone.shows_next())

    code = await world.ask(tenant, ANN)
    with pytest.raises(OtpRequired):
        await verify(shown=None)
    assert await verify(phone.recovery_codes[0], shown=None)


async def test_a_reset_of_the_password_does_not_get_around_it(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    phone = await set_up(world, await world.sign_in_as(tenant, ANN))
    async with passwords_of(world) as (passwords, sign_in):
        challenge = await passwords.request_reset(tenant.id, Email(ANN), HERE, None)
        code = world.requests[-1].code
        await passwords.reset(tenant.id, Email(ANN), code, GOOD, HERE, challenge.text)
        with pytest.raises(OtpRequired):
            await sign_in.sign_in(attempt(tenant))
        assert await sign_in.sign_in(attempt(tenant, phone.shows_next()))


async def test_a_recovery_code_works_once_is_kept_as_a_hash_and_ends_with_new_ones(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    bob = await world.sign_in_as(tenant, BOB)
    phone, of_bob = await set_up(world, pair), await set_up(world, bob)
    assert len(set(phone.recovery_codes)) == 10

    async def enter(otp: str, who: str = ANN) -> Any:
        return await world.sign_in.verify_code(tenant.id, Email(who), await world.ask(tenant, who), HERE, otp=otp)

    first, second = phone.recovery_codes[:2]
    assert await enter(f" {first.upper().replace('-', ' ')} ")
    for spent in (first, of_bob.recovery_codes[0]):
        with pytest.raises(OtpInvalid):
            await enter(spent)
    assert (await world.second_factors.describe(caller_of(pair))).recovery_codes == 9
    renewed = await world.second_factors.renew_recovery_codes(caller_of(pair))
    with pytest.raises(OtpInvalid):
        await enter(second)
    assert await enter(renewed[0])
    stored = await world.admin.fetch("SELECT code_hash FROM auth.recovery_codes")
    ann = next(user for user in await world.users() if user.email == ANN)
    assert hash_recovery_code(ann, renewed[1]) in {row["code_hash"] for row in stored}
    assert hash_recovery_code(ann, "password") is None and hash_recovery_code(ann, new_recovery_code()) is not None


async def test_nothing_changes_before_the_app_is_confirmed_and_the_older_app_stays_until_then(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    caller, factors = caller_of(pair), world.second_factors
    with pytest.raises(TotpNotBegun):
        await factors.confirm_totp(caller, "000000")
    with pytest.raises(NoSecondFactor):
        await factors.renew_recovery_codes(caller)
    with pytest.raises(TotpNotFound):
        await factors.remove_totp(caller)
    dropped = Phone(world, (await factors.begin_totp(caller)).secret, [])
    begun = await factors.begin_totp(caller)
    parts = urlsplit(begun.uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert parse_qs(parts.query) == {"secret": [begun.secret], "issuer": ["DocuChat"]}
    with pytest.raises(OtpInvalid):
        await factors.confirm_totp(caller, dropped.shows())
    assert await world.sign_in_as(tenant, ANN)  # nothing is asked for yet
    phone = Phone(world, begun.secret, [])
    await factors.confirm_totp(caller, phone.shows())

    other = Phone(world, (await factors.begin_totp(caller)).secret, [])
    code = await world.ask(tenant, ANN)
    assert await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.shows_next())
    await factors.confirm_totp(caller, other.shows())
    code = await world.ask(tenant, ANN)
    with pytest.raises(OtpInvalid):
        await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.shows_next())
    assert await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=other.shows_next())


async def test_what_is_begun_is_confirmed_within_the_hour(make_world: Any) -> None:
    world = await make_world()
    pair = await world.sign_in_as(await world.tenant(), ANN)
    begun = await world.second_factors.begin_totp(caller_of(pair))
    await world.admin.execute("UPDATE auth.totp SET pending_at = pending_at - interval '1 hour 1 second'")
    with pytest.raises(TotpNotBegun):
        await world.second_factors.confirm_totp(caller_of(pair), Phone(world, begun.secret, []).shows())


async def test_setting_one_up_and_taking_it_away_end_the_other_sessions(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    before = await world.sign_in_as(tenant, ANN)
    pair = await world.sign_in_as(tenant, ANN)
    phone = await set_up(world, pair)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, before.refresh_token)
    pair = await world.sessions.refresh(tenant.id, pair.refresh_token)
    code = await world.ask(tenant, ANN)
    other = await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.shows_next())
    await world.second_factors.remove_totp(caller_of(pair))
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, other.refresh_token)
    assert await world.sessions.refresh(tenant.id, pair.refresh_token)
    assert await world.sign_in_as(tenant, ANN)  # and nothing is asked for any more
    factors = await world.second_factors.describe(caller_of(pair))
    assert (factors.has_totp, factors.recovery_codes) == (False, 0)


async def test_changing_them_needs_a_sign_in_of_the_last_minutes_however_often_it_was_refreshed(
    make_world: Any,
) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    world.clock.advance(minutes=16)
    pair = await world.sessions.refresh(tenant.id, pair.refresh_token)
    old, factors = caller_of(pair), world.second_factors
    key = Caller(tenant.id, "key", old.subject_id, role="owner", session_id=old.session_id)
    for act in (
        factors.begin_totp(old),
        factors.confirm_totp(old, "000000"),
        factors.renew_recovery_codes(old),
        factors.remove_totp(old),
        factors.reset(old, UserId(old.subject_id)),
        factors.begin_totp(key),
    ):
        with pytest.raises(RecentSignInRequired):
            await act
    assert not (await factors.describe(old)).has_any
    with pytest.raises(UserGone):
        await factors.describe(key)


async def test_where_it_is_demanded_a_session_without_is_good_for_setting_it_up_alone(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    before = await world.sign_in_as(tenant, ANN)
    await demand(world, tenant)
    assert claims_of(await world.sessions.refresh(tenant.id, before.refresh_token))["scope"] == "account.use"
    pair = await world.sign_in_as(tenant, ANN)
    assert claims_of(pair)["scope"] == "account.use" and pair.scopes == {"account.use"}
    phone = await set_up(world, pair)
    pair = await world.sessions.refresh(tenant.id, pair.refresh_token)
    assert "scope" not in claims_of(pair) and pair.scopes is None
    code = await world.ask(tenant, ANN)
    full = await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.shows_next())
    assert "scope" not in claims_of(full)

    await world.second_factors.remove_totp(caller_of(pair))
    page = await world.revisions.list_after(None)
    assert [(one.kind, one.state) for one in page.items if one.kind == "user"] == [("user", "changed")]
    after = claims_of(await world.sessions.refresh(tenant.id, pair.refresh_token))
    assert (after["scope"], after["ver"]) == ("account.use", claims_of(pair)["ver"] + 1)


@pytest.mark.parametrize("method", SignInMethod)
async def test_every_way_of_signing_in_is_asked_but_those_that_ask_themselves(make_world: Any, method: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    (ann,) = await world.users()

    async def start() -> Any:
        async with world.uow(tenant.id) as tx:
            session = await world.sessions.start(tx, ann, method, is_part=True)
        return await world.sessions.pair(session, tenant)

    asks_itself = method in {"passkey", "oidc"}
    await demand(world, tenant)
    started = await start()
    refreshed = await world.sessions.refresh(tenant.id, started.refresh_token)
    for one in (started, refreshed):
        assert ("scope" not in claims_of(one)) == asks_itself
    await set_up(world, pair)
    if asks_itself:
        assert await start()
    else:
        with pytest.raises(OtpRequired):
            await start()
