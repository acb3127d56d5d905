"""Passkeys: only who holds the key signs in, on our pages, once for each challenge."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.passkeys.ceremonies import RelyingParty
from docuchat_auth.passkeys.challenges import Challenges
from docuchat_auth.passkeys.domain import MOST_PASSKEYS
from docuchat_auth.passkeys.errors import (
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyRefused,
    PasskeyTaken,
    TooManyPasskeys,
)
from docuchat_auth.passkeys.service import Passkeys
from docuchat_auth.sessions.errors import InvalidRefreshToken, OtpRequired
from docuchat_auth.tenants.domain import ANY_TENANT
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.ids import uuid7
from docuchat_testkit.eventually import eventually

from .authenticator import ORIGIN, Authenticator
from .conftest import SECRET, World
from .test_second_factors import ANN, BOB, caller_of, claims_of, demand, set_up

WAITING = (
    "SELECT count(DISTINCT waits.pid) FROM pg_locks AS waits JOIN pg_locks AS held USING (pid)"
    " WHERE NOT waits.granted AND held.relation = 'auth.users'::regclass"
    " AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def passkeys_of(world: World) -> Passkeys:
    party = RelyingParty("localhost", "DocuChat", [ORIGIN, "http://localhost:3000"])
    challenges = Challenges(world.codes._client, SECRET, world.clock)
    return Passkeys(world.uow, party, challenges, world.sessions, world.second_factors, world.clock)


async def registered(passkeys: Passkeys, pair: Any, **kind: Any) -> Authenticator:
    device = Authenticator(**kind)
    caller = caller_of(pair)
    await passkeys.add(caller, "Laptop", device.create(await passkeys.begin(caller)))
    return device


async def enter(passkeys: Passkeys, device: Authenticator, tenant_id: Any = ANY_TENANT) -> Any:
    return await passkeys.sign_in(tenant_id, device.get(passkeys.begin_sign_in()))


async def test_a_passkey_signs_in_without_naming_anybody_and_counts_as_both_factors(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    passkeys = passkeys_of(world)
    device = await registered(passkeys, pair)
    await set_up(world, pair)
    await demand(world, tenant)
    entered = claims_of(await enter(passkeys, device))
    assert (entered["email"], entered["tenant"], "scope" in entered) == (ANN, tenant.id, False)
    assert claims_of(await enter(passkeys, device, tenant.id))["email"] == ANN
    for elsewhere in ((await world.tenant("other")).id, NO_TENANT):
        with pytest.raises(InvalidPasskey):
            await enter(passkeys, device, elsewhere)
    (kept,) = await passkeys.list_own(caller_of(pair))
    assert (kept.name, kept.last_used_at, kept.attested.sign_count) == ("Laptop", world.clock.now(), 2)
    starts = [event for event in await world.events() if getattr(event, "action", "") == "session.start"]
    assert getattr(starts[-1], "detail", "") == "passkey"


async def test_what_is_no_proof_signs_nobody_in(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair = await world.sign_in_as(tenant, ANN)
    device = await registered(passkeys, pair)
    bobs = await registered(passkeys, await world.sign_in_as(tenant, BOB))

    def shown(**changed: Any) -> Any:
        """A good answer, but for what is changed of who gives it."""
        device.count += 1
        return Authenticator(**{**vars(device), **changed}).get(passkeys.begin_sign_in())

    def altered(name: str, value: Any) -> Any:
        answer = shown()
        return {**answer, "response": {**answer["response"], name: value}}

    other = passkeys_of(world)
    other._challenges._key = b"another key"
    forged = {
        "another origin": shown(origin="https://evil.example"),
        "another port": shown(origin="http://localhost:8001"),
        "another site": shown(rp_id="evil.example"),
        "in a frame": shown(is_framed=True),
        "no PIN": shown(is_verified=False),
        "another key": shown(key=bobs.key),
        "an unknown passkey": shown(credential_id=b"unknown passkey!"),
        "somebody else's handle": shown(user_handle=bobs.user_handle),
        "no handle": altered("userHandle", None),
        "a broken signature": altered("signature", "AAAA"),
        "no authenticator": altered("authenticatorData", "AAAA"),
        "no client": altered("clientDataJSON", base64.urlsafe_b64encode(b"[]").decode()),
        "no base64": altered("clientDataJSON", "A"),
        "our challenge for another act": device.get(await passkeys.begin(caller_of(pair))),
        "an act of making": device.get(passkeys.begin_sign_in(), "webauthn.create"),
        "a challenge of somebody": device.get({"challenge": "c29tZWJvZHkncw"}),
        "a challenge of another key": device.get(other.begin_sign_in()),
    }  # fmt: skip
    for why, credential in forged.items():
        with pytest.raises(InvalidPasskey):
            await passkeys.sign_in(ANY_TENANT, credential)
            pytest.fail(why)
    assert await enter(passkeys, device)


async def test_a_challenge_is_good_once_and_for_five_minutes(make_world: Any) -> None:
    world = await make_world()
    passkeys = passkeys_of(world)
    pair = await world.sign_in_as(await world.tenant(), ANN)
    device = await registered(passkeys, pair, counts=False)
    options = passkeys.begin_sign_in()
    answer = device.get(options)
    assert await passkeys.sign_in(ANY_TENANT, answer)
    for replayed in (answer, device.get(options)):
        with pytest.raises(InvalidPasskey):
            await passkeys.sign_in(ANY_TENANT, replayed)
    late, in_time = passkeys.begin_sign_in(), passkeys.begin_sign_in()
    world.clock.advance(minutes=4, seconds=58)
    assert await passkeys.sign_in(ANY_TENANT, device.get(in_time))
    world.clock.advance(seconds=3)
    with pytest.raises(InvalidPasskey):
        await passkeys.sign_in(ANY_TENANT, device.get(late))


async def test_a_copy_shows_by_a_count_that_was_seen_before(make_world: Any) -> None:
    world = await make_world()
    passkeys = passkeys_of(world)
    device = await registered(passkeys, await world.sign_in_as(await world.tenant(), ANN))
    copy = Authenticator(**vars(device))
    assert await enter(passkeys, device) and await enter(passkeys, device)
    for _ in range(2):
        with pytest.raises(InvalidPasskey):
            await enter(passkeys, copy)
    assert await enter(passkeys, copy)  # it has counted on: now the other one shows
    with pytest.raises(InvalidPasskey):
        await enter(passkeys, device)


async def test_a_passkey_is_made_for_who_asked_once_and_on_our_pages(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair, bob = await world.sign_in_as(tenant, ANN), await world.sign_in_as(tenant, BOB)
    ann = caller_of(pair)
    options = await passkeys.begin(ann)
    handle = base64.urlsafe_b64decode(options["user"]["id"] + "==")
    assert handle == ann.subject_id.bytes and options["attestation"] == "none"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["authenticatorSelection"]["residentKey"] == "required"
    elsewhere = caller_of(await world.sign_in_as(tenant, ANN))
    for caller, credential in (
        (caller_of(bob), Authenticator().create(options)),
        (elsewhere, Authenticator().create(options)),
        (ann, Authenticator(origin="https://evil.example").create(options)),
        (ann, Authenticator(rp_id="evil.example").create(options)),
        (ann, Authenticator(is_verified=False).create(options)),
        (ann, Authenticator(is_framed=True).create(options)),
        (ann, Authenticator().create(options, "webauthn.get")),
        (ann, Authenticator().create({**options, **passkeys.begin_sign_in()})),
        (ann, {**Authenticator().create(options), "id": "AAAA"}),
    ):
        with pytest.raises(PasskeyRefused):
            await passkeys.add(caller, "Laptop", credential)
    device = Authenticator()
    assert await passkeys.add(ann, "Laptop", device.create(options))
    with pytest.raises(PasskeyRefused):
        await passkeys.add(ann, "Laptop", Authenticator().create(options))
    again = await passkeys.begin(caller_of(bob))
    with pytest.raises(PasskeyTaken):
        await passkeys.add(caller_of(bob), "Laptop", device.create(again))
    known = await passkeys.begin(ann)
    assert [one["id"] for one in known["excludeCredentials"]] == [device.create(known)["id"]]


async def test_a_user_has_twenty_and_removes_only_the_own(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair, bob = await world.sign_in_as(tenant, ANN), await world.sign_in_as(tenant, BOB)
    device = await registered(passkeys, pair)
    other = await world.sign_in_as(tenant, ANN)
    (kept,) = await passkeys.list_own(caller_of(pair))
    for caller, passkey_id in ((caller_of(bob), kept.id), (caller_of(pair), uuid7())):
        with pytest.raises(PasskeyNotFound):
            await passkeys.remove(caller, passkey_id)
    for _ in range(MOST_PASSKEYS - 1):
        await registered(passkeys, pair)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, other.refresh_token)
    other = await enter(passkeys, device)
    with pytest.raises(TooManyPasskeys):
        await registered(passkeys, pair)
    assert len(await passkeys.list_own(caller_of(pair))) == MOST_PASSKEYS
    await passkeys.remove(caller_of(pair), kept.id)
    with pytest.raises(InvalidPasskey):
        await enter(passkeys, device)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, other.refresh_token)
    assert await world.sessions.refresh(tenant.id, pair.refresh_token)


async def test_beside_a_passkey_one_proof_stays_enough_unless_the_tenant_demands_two(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair = await world.sign_in_as(tenant, ANN)
    device = await registered(passkeys, pair)
    assert await world.sign_in_as(tenant, ANN)
    await demand(world, tenant)
    with pytest.raises(OtpRequired) as told:
        await world.sign_in_as(tenant, ANN)
    assert told.value.extensions == {"methods": ["passkey"]}
    codes = await world.second_factors.renew_recovery_codes(caller_of(pair))
    mailed = await world.ask(tenant, ANN)
    assert await world.sign_in.verify_code(tenant.id, ANN, mailed, "192.0.2.1", otp=codes[0])
    with pytest.raises(InvalidCode):
        await world.sign_in.verify_code(tenant.id, ANN, mailed, "192.0.2.1", otp=codes[1])
    pair = await enter(passkeys, device)
    (kept,) = await passkeys.list_own(caller_of(pair))
    await passkeys.remove(caller_of(pair), kept.id)
    assert claims_of(await world.sign_in_as(tenant, ANN))["scope"] == "account.use"
    assert not await world.admin.fetch("SELECT FROM auth.recovery_codes")


async def test_a_session_that_showed_no_second_factor_does_not_become_whole_by_one_that_was_set_up_elsewhere(
    make_world: Any,
) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    own = await world.sign_in_as(tenant, ANN)
    await registered(passkeys, own)
    stolen = await world.sign_in_as(tenant, ANN)  # beside a passkey one proof is enough
    assert stolen.scopes is None
    await demand(world, tenant)
    stolen = await world.sessions.refresh(tenant.id, stolen.refresh_token)
    assert claims_of(stolen)["scope"] == "account.use"
    own = await world.sessions.refresh(tenant.id, own.refresh_token)
    assert "scope" not in claims_of(own)
    await registered(passkeys, own)
    assert (await world.sessions.refresh(tenant.id, own.refresh_token)).scopes is None
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, stolen.refresh_token)


async def test_the_last_two_factors_taken_away_at_once_leave_nothing(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair = await world.sign_in_as(tenant, ANN)
    caller = caller_of(pair)
    await registered(passkeys, pair)
    await set_up(world, pair)
    (kept,) = await passkeys.list_own(caller)

    async def are_two_waiting() -> None:
        assert await world.admin.fetchval(WAITING) == 2

    async with world.admin.transaction():  # somebody else is about to change the user
        await world.admin.execute("SELECT FROM auth.users FOR NO KEY UPDATE")
        both = [
            asyncio.create_task(act)
            for act in (world.second_factors.remove_totp(caller), passkeys.remove(caller, kept.id))
        ]
        await eventually(are_two_waiting)
    await asyncio.gather(*both)
    left = await world.second_factors.describe(caller)
    assert (left.has_any, left.recovery_codes) == (False, 0)


async def test_who_is_gone_or_was_reset_has_no_passkey_and_changes_need_a_recent_sign_in(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    passkeys = passkeys_of(world)
    pair, bob = await world.sign_in_as(tenant, ANN), await world.sign_in_as(tenant, BOB)
    device, bobs = await registered(passkeys, pair), await registered(passkeys, bob)
    await world.second_factors.reset(caller_of(pair), caller_of(bob).user_id)
    with pytest.raises(InvalidPasskey):
        await enter(passkeys, bobs)
    await world.admin.execute("UPDATE auth.users SET is_active = false WHERE email = $1", ANN)
    with pytest.raises(InvalidPasskey):
        await enter(passkeys, device)
    world.clock.advance(minutes=16)
    caller = caller_of(pair)
    for act in (passkeys.begin(caller), passkeys.add(caller, "Laptop", {}), passkeys.remove(caller, uuid7())):
        with pytest.raises(RecentSignInRequired):
            await act


def test_a_challenge_costs_nothing_to_ask_for_and_says_what_it_is_for(clock: Any) -> None:
    challenges = Challenges(None, SECRET, clock)  # type: ignore[arg-type]  # asking keeps nothing
    challenge = challenges.new("registration", "ann")
    assert challenges.is_live(challenge, "registration", "ann")
    for ceremony, subject in (("registration", "bob"), ("sign-in", "ann"), ("sign-in", "")):
        assert not challenges.is_live(challenge, ceremony, subject)
    assert not challenges.is_live(b"", "sign-in") and not challenges.is_live(challenge[:-1], "registration", "ann")
    clock.moment += timedelta(minutes=5)
    assert not challenges.is_live(challenge, "registration", "ann")
