"""Signing in by code."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from docuchat_auth.codes.domain import Account, new_code
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.operators.service import TenantFounding
from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, SignUpMode, parse_tenant_reference
from docuchat_auth.tenants.errors import InvalidSignUp, InvalidSlug, TenantNotFound, TenantTaken
from docuchat_auth.tenants.service import TenantDirectory, make_signup
from docuchat_auth.users.domain import Email
from docuchat_auth.users.errors import UserGone
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import TenantCreated, UserRegistered
from docuchat_common.http.caller import NO_TENANT

ADDRESS = "192.0.2.1"
ANN = Email("ann@example.com")


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_the_first_user_of_a_tenant_is_its_owner_and_the_next_is_a_member(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    await world.sign_in_as(tenant, "ben@example.com")
    roles = {user.email: user.role for user in await world.users()}
    assert roles == {"ann@example.com": Role.OWNER, "ben@example.com": Role.MEMBER}


async def test_signing_in_again_keeps_the_user_and_registers_once(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    world.clock.advance(hours=1)
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    assert user.last_login_at == world.clock.now()
    registered = [event for event in await world.events() if isinstance(event, UserRegistered)]
    assert [(event.tenant_id, event.user_id, event.role) for event in registered] == [(tenant.id, user.id, "owner")]


async def test_the_access_token_says_who_where_and_until_when(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    header = jwt.get_unverified_header(pair.access_token)
    claims = jwt.decode(pair.access_token, options={"verify_signature": False})
    (user,) = await world.users()
    (key,) = (await world.keys.published())["keys"]
    assert (header["alg"], header["typ"], header["kid"]) == ("EdDSA", "at+jwt", key["kid"])
    assert {name: claims[name] for name in ("iss", "aud", "sub", "tenant", "tenant_slug", "role", "email", "typ")} == {
        "iss": "docuchat",
        "aud": "docuchat",
        "sub": str(user.id),
        "tenant": tenant.id,
        "tenant_slug": "demo",
        "role": "owner",
        "email": "ann@example.com",
        "typ": "access",
    }
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["jti"]


async def test_a_code_works_once(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    code = await world.ask(tenant, ANN)
    await world.sign_in.verify_code(tenant.id, ANN, code, ADDRESS)
    with pytest.raises(InvalidCode):
        await world.sign_in.verify_code(tenant.id, ANN, code, ADDRESS)


async def guess(world: Any, tenant: Any, code: str, challenge: str | None = None, address: str = ADDRESS) -> str:
    """What became of a guess at Ann's code."""
    try:
        await world.sign_in.verify_code(tenant.id, ANN, code, address, challenge)
    except (InvalidCode, TooManyAttempts) as error:
        return str(error.code)
    return "in"


@pytest.mark.parametrize(
    ("bound", "bare", "with_challenge", "without"),
    [
        (2, 2, "in", None),
        (0, 2, "in", None),
        (2, 1, None, "in"),
        (3, 0, "invalid_code", "in"),
        (3, 2, "invalid_code", "invalid_code"),
    ],
)
async def test_a_code_bears_five_wrong_guesses_three_of_them_with_its_challenge(
    make_world: Any, bound: int, bare: int, with_challenge: str | None, without: str | None
) -> None:
    world = await make_world()
    tenant = await world.tenant()
    code, challenge = await world.ask_with_challenge(tenant, ANN)
    for shown in [challenge] * bound + [None] * bare:
        assert await guess(world, tenant, wrong(code), shown) == "invalid_code"
    if with_challenge is not None:
        assert await guess(world, tenant, code, challenge) == with_challenge
    if without is not None:
        assert await guess(world, tenant, code) == without


async def test_five_guesses_of_a_stranger_do_not_lock_the_owner_out(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    code, challenge = await world.ask_with_challenge(tenant, ANN)
    for _ in range(5):
        assert await guess(world, tenant, wrong(code)) == "invalid_code"
    assert await guess(world, tenant, code, challenge) == "in"


async def test_six_requests_of_a_stranger_do_not_lock_the_owner_out(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    mine, challenge = await world.ask_with_challenge(tenant, ANN)
    for _ in range(6):
        theirs, stranger = await world.ask_with_challenge(tenant, ANN, "198.51.100.1")
        for shown in (stranger, stranger, stranger, None, None):
            assert await guess(world, tenant, wrong(theirs), shown, "198.51.100.1") != "in"
    assert await guess(world, tenant, mine, challenge) == "in"
    later, challenge = await world.ask_with_challenge(tenant, ANN)
    assert await guess(world, tenant, later, challenge) == "in"


async def test_a_browser_that_has_signed_in_cannot_be_locked_out_by_anybody(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    code, known = await world.ask_with_challenge(tenant, ANN)
    assert await guess(world, tenant, code, known) == "in"
    for number in range(4):  # strangers use up every budget that they can reach
        address = f"198.51.100.{number}"
        for _ in range(12):
            try:
                theirs, stranger = await world.ask_with_challenge(tenant, ANN, address)
            except TooManyAttempts:
                break
            for shown in (stranger, stranger, stranger, None, None):
                await guess(world, tenant, wrong(theirs), shown, address)
    with pytest.raises(TooManyAttempts):
        await world.ask_with_challenge(tenant, ANN, "203.0.113.1")
    mine, challenge = await world.ask_with_challenge(tenant, ANN, challenge=known)
    assert await guess(world, tenant, wrong(mine), challenge) == "invalid_code"
    assert await guess(world, tenant, mine, challenge) == "in"


async def test_a_challenge_that_never_signed_in_gives_no_budget(make_world: Any) -> None:
    world = await make_world(send_per_email="2/h")
    tenant = await world.tenant()
    _, challenge = await world.ask_with_challenge(tenant, ANN)
    await world.ask_with_challenge(tenant, ANN, challenge=challenge)
    with pytest.raises(TooManyAttempts):
        await world.ask_with_challenge(tenant, ANN, challenge=challenge)


async def test_a_challenge_of_another_code_opens_nothing(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    _, stranger = await world.ask_with_challenge(tenant, ANN, "198.51.100.1")
    mine, challenge = await world.ask_with_challenge(tenant, ANN)
    if world.requests[-2].code != mine:
        assert await guess(world, tenant, mine, stranger) == "invalid_code"
    assert await guess(world, tenant, mine, "never-issued-challenge") == "invalid_code"
    assert await guess(world, tenant, mine, challenge) == "in"


async def test_a_code_lives_ten_minutes(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.ask(tenant, ANN)
    keys = await world.codes._client.keys("auth:code:*")
    lives = [await world.codes._client.pttl(key) for key in keys]
    assert len(lives) == 3 and all(540_000 < life <= 600_000 for life in lives)


async def test_a_newer_code_replaces_the_older(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    older = await world.ask(tenant, ANN)
    newer = await world.ask(tenant, ANN)
    if older != newer:
        with pytest.raises(InvalidCode):
            await world.sign_in.verify_code(tenant.id, ANN, older, ADDRESS)
    assert await world.sign_in.verify_code(tenant.id, ANN, newer, ADDRESS)


async def test_a_code_of_one_tenant_or_address_is_none_of_another(make_world: Any) -> None:
    world = await make_world()
    one, two = await world.tenant("one"), await world.tenant("two")
    code = await world.ask(one, ANN)
    with pytest.raises(InvalidCode):
        await world.sign_in.verify_code(two.id, ANN, code, ADDRESS)
    with pytest.raises(InvalidCode):
        await world.sign_in.verify_code(one.id, Email("ben@example.com"), code, ADDRESS)


async def test_a_stranger_of_a_closed_or_unknown_tenant_gets_the_same_answer_but_no_mail(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, ANN)
    await world.tenants.set_signup(tenant.id, INVITED_ONLY)
    asked = [(tenant.id, ANN), (tenant.id, Email("eve@example.com")), (NO_TENANT, ANN)]
    answers = [await world.sign_in.request_code(where, email, ADDRESS) for where, email in asked]
    assert {(answer.expires_in, len(answer.text)) for answer in answers} == {(timedelta(minutes=10), 32)}
    for request in world.requests[-3:]:
        await world.delivery.deliver(request)
    assert [email for email, _ in world.mailbox.mails] == [ANN]
    with pytest.raises(InvalidCode):
        await world.sign_in.verify_code(NO_TENANT, ANN, world.requests[-1].code, ADDRESS)


async def test_a_closed_tenant_gets_its_first_owner_by_address(make_world: Any) -> None:
    world = await make_world()
    tenant, is_new = await world.founding.create("acme", "Acme", ANN, signup=INVITED_ONLY)
    assert (is_new, tenant.signup) == (True, INVITED_ONLY)
    await world.sign_in_as(tenant, ANN)
    (owner,) = await world.users()
    assert (owner.email, owner.role) == (ANN, Role.OWNER)
    with pytest.raises(InvalidCode):
        await world.sign_in_as(tenant, "eve@example.com")


async def test_people_of_a_proven_domain_join_and_nobody_else(make_world: Any) -> None:
    world = await make_world()
    rule = make_signup(SignUpMode.DOMAINS, ["Example.com"])
    tenant, _ = await world.founding.create("acme", "Acme", Email("boss@acme.example"), signup=rule)
    assert (await world.sign_in_as(tenant, ANN)).access_token
    for stranger in ("ann@sub.example.com", "ann@evil-example.com", "ann@example.com.evil.example"):
        with pytest.raises(InvalidCode):
            await world.sign_in_as(tenant, stranger)
    assert {user.email: user.role for user in await world.users()} == {
        "boss@acme.example": Role.OWNER, ANN: Role.MEMBER,
    }  # fmt: skip
    for mode, domains in ((SignUpMode.DOMAINS, []), (SignUpMode.OPEN, ["a.example"]), (SignUpMode.DOMAINS, ["@x"])):
        with pytest.raises(InvalidSignUp):
            make_signup(mode, domains)


async def test_a_tenant_that_is_to_be_open_takes_nobody_before_its_owner(make_world: Any) -> None:
    world = await make_world()

    class Crowded(TenantDirectory):
        """Where a stranger comes as soon as there is a tenant."""

        async def create(self, *arguments: Any, **named: Any) -> Any:
            made = await super().create(*arguments, **named)
            with pytest.raises(InvalidCode):
                await world.sign_in_as(made[0], "eve@example.com")
            return made

    founding = TenantFounding(world.uow, Crowded(world.uow, world.revisions), world.clock)
    tenant, _ = await founding.create("acme", "Acme", ANN, signup=OPEN)
    await world.sign_in_as(tenant, "eve@example.com")
    assert [user.role for user in await world.users()] == [Role.OWNER, Role.MEMBER]


async def test_founding_again_changes_nothing_and_takes_nobodys_tenant(make_world: Any) -> None:
    world = await make_world()
    first, _ = await world.founding.create("acme", "Acme", ANN, signup=INVITED_ONLY)
    assert await world.founding.create("acme", "Acme", ANN, signup=INVITED_ONLY) == (first, False)
    with pytest.raises(TenantTaken):
        await world.founding.create("acme", "Acme", Email("eve@example.com"), signup=INVITED_ONLY)
    assert [user.email for user in await world.users()] == [ANN]
    await world.tenant("empty", is_open=False)  # as a crash between the tenant and its owner leaves it
    completed, is_new = await world.founding.create("empty", "Empty", ANN, signup=INVITED_ONLY)
    assert not is_new
    assert (await world.sign_in_as(completed, ANN)).access_token


async def test_even_with_the_code_a_stranger_does_not_enter_a_closed_tenant(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant(is_open=False)
    with pytest.raises(InvalidCode):
        await world.sign_in_as(tenant, "eve@example.com")
    assert await world.users() == []


async def test_the_thirteenth_code_in_ten_minutes_is_refused_with_the_time_to_wait(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    for _ in range(12):
        await world.ask(tenant, ANN)
    with pytest.raises(TooManyAttempts) as refused:
        await world.ask(tenant, ANN)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after.total_seconds() <= 1200


async def test_sending_is_limited_by_e_mail_across_tenants(make_world: Any) -> None:
    world = await make_world(send_per_email="2/hour")
    one, two = await world.tenant("one"), await world.tenant("two")
    await world.ask(one, ANN)
    await world.ask(two, ANN)
    with pytest.raises(TooManyAttempts):
        await world.ask(two, ANN)


async def test_sending_is_limited_by_address(make_world: Any) -> None:
    world = await make_world(send_per_address="2/hour")
    tenant = await world.tenant()
    await world.ask(tenant, "a@example.com")
    await world.ask(tenant, "b@example.com")
    with pytest.raises(TooManyAttempts):
        await world.ask(tenant, "c@example.com")
    await world.ask(tenant, "c@example.com", "192.0.2.2")


async def test_junk_at_the_same_address_refuses_no_valid_credential(make_world: Any) -> None:
    world = await make_world(send_per_address="4/hour", verify_per_address="2/hour")
    tenant = await world.tenant()
    for _ in range(3):  # what is right is not counted
        await world.sign_in_as(tenant, ANN)
    code, challenge = await world.ask_with_challenge(tenant, ANN)
    with pytest.raises(TooManyAttempts):
        await world.ask(tenant, "eve@example.com")
    for _ in range(2):
        with pytest.raises(InvalidCode):
            await world.sign_in.verify_code(tenant.id, Email("eve@example.com"), "000000", ADDRESS)
    with pytest.raises(TooManyAttempts):
        await world.sign_in.verify_code(tenant.id, Email("eve@example.com"), "000000", ADDRESS)
    assert (await world.sign_in.verify_code(tenant.id, ANN, code, ADDRESS, challenge)).access_token
    again, newer = await world.ask_with_challenge(tenant, ANN, challenge=challenge)
    assert (await world.sign_in.verify_code(tenant.id, ANN, again, ADDRESS, newer)).access_token


async def test_an_account_fails_at_most_a_hundred_times_an_hour_however_it_is_tried(make_world: Any) -> None:
    world = await make_world(send_per_email="1000/m", send_per_email_and_address="1000/m", send_per_browser="1000/m")
    tenant = await world.tenant()
    code, known = await world.ask_with_challenge(tenant, ANN)
    assert await guess(world, tenant, code, known) == "in"
    failures = 0
    for number in range(40):
        address = f"198.51.100.{number % 4}"
        for earlier in (known, None):
            code, challenge = await world.ask_with_challenge(tenant, ANN, address, earlier)
            tries = [
                guess(world, tenant, wrong(code), shown, address)
                for shown in (challenge, challenge, challenge, None, None)
            ]
            failures += (await asyncio.gather(*tries)).count("invalid_code")
    assert failures == 100
    code, challenge = await world.ask_with_challenge(tenant, ANN)
    with pytest.raises(TooManyAttempts) as refused:
        await world.sign_in.verify_code(tenant.id, ANN, code, ADDRESS, challenge)
    assert refused.value.retry_after is not None
    assert 3500 < refused.value.retry_after.total_seconds() <= 3600
    assert (await world.sign_in_as(tenant, "ben@example.com")).access_token


async def test_parallel_tries_of_the_right_code_have_one_winner(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    code = await world.ask(tenant, ANN)
    tries = [world.sign_in.verify_code(tenant.id, ANN, code, ADDRESS) for _ in range(50)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, InvalidCode) for outcome in outcomes) == 49


async def test_a_closed_account_neither_signs_in_nor_reads_itself(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, ANN)
    (user,) = await world.users()
    await world.admin.execute("UPDATE auth.users SET is_active = false")
    with pytest.raises(InvalidCode):
        await world.sign_in_as(tenant, ANN)
    with pytest.raises(UserGone):
        await world.profiles.get_own(tenant.id, user.id)


async def test_a_tenant_is_found_by_id_and_by_slug(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    assert await world.tenants.get_by_reference("1") == tenant
    assert await world.tenants.get_by_reference(" demo ") == tenant
    assert await world.tenants.get_by_reference(str(tenant.customer_id).upper()) == tenant
    for unknown in (str(uuid4()), "2", "other", "Demo", "0", "-1", "not a slug", "9" * 30, "'; --"):
        with pytest.raises(TenantNotFound):
            await world.tenants.get_by_reference(unknown)


async def test_creating_a_tenant_again_changes_nothing(make_world: Any) -> None:
    world = await make_world()
    first, is_new = await world.tenants.create("demo", "Demo", tenant_id=1, signup=OPEN)
    again, is_new_again = await world.tenants.create("demo", "Other name", tenant_id=1, signup=OPEN)
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert [event.slug for event in await world.events() if isinstance(event, TenantCreated)] == ["demo"]
    with pytest.raises(TenantTaken):
        await world.tenants.create("demo", "Demo", tenant_id=2, signup=OPEN)
    with pytest.raises(TenantTaken):
        await world.tenants.create("other", "Other", tenant_id=1, signup=OPEN)
    for slug in ("", "UPPER", "-a", "a-", "12", "a_b", "a" * 64):
        with pytest.raises(InvalidSlug):
            await world.tenants.create(slug, "Name", tenant_id=None, signup=OPEN)


async def test_codes_are_six_digits_and_differ() -> None:
    codes = {new_code() for _ in range(200)}
    assert all(len(code) == 6 and code.isdigit() for code in codes)
    assert len(codes) > 190


async def test_a_tenant_reference_is_an_id_or_a_slug_never_both() -> None:
    assert parse_tenant_reference("1") == 1
    assert parse_tenant_reference("1a") == "1a"
    assert parse_tenant_reference("01") is None
    assert parse_tenant_reference("2147483648") is None


async def test_an_account_is_its_tenant_and_address() -> None:
    from docuchat_auth.codes.pseudonyms import CodeDigests
    from docuchat_common.ids import TenantId

    digests = CodeDigests("a-secret-of-the-tests-that-is-long-enough")
    digest = digests.digest(Account(TenantId(1), ANN), "123456")
    assert digest == digests.digest(Account(TenantId(1), ANN), "123456")
    others = {
        digests.digest(Account(TenantId(2), ANN), "123456"),
        digests.digest(Account(TenantId(1), Email("ben@example.com")), "123456"),
        digests.digest(Account(TenantId(1), ANN), "123457"),
        CodeDigests("b-secret-of-the-tests-that-is-long-enough").digest(Account(TenantId(1), ANN), "123456"),
    }
    assert len(others) == 4
    assert digest not in others
