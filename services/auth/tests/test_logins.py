"""Strangers at one's address: whose failures are whose, and who is found."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.codes.domain import Account, GuessBudget, Purpose
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.logins.domain import Attempt, SignedIn
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.passwords.hashing import PasswordPool
from docuchat_auth.tenants.domain import ANY_TENANT, Tenant
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import RateLimiter, parse_rates

from .conftest import SECRET, World
from .test_sign_in import guess

ANN = Email("ann@example.com")
ANNS, EVES = "seven purple harbours", "a different long secret"
HOME, ELSEWHERE = "192.0.2.9", "203.0.113.1"


@dataclass
class Logins:
    """Signing in by password, on the test's database and Redis."""

    world: World
    sign_in: PasswordSignIn
    pool: PasswordPool

    async def account(self, tenant: Tenant, password: str, *, proven: bool) -> User:
        who = Newcomer(email=ANN) if proven else Newcomer(claimed_email=ANN)
        hash_ = await self.pool.hash(password, HOME)
        async with self.world.uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, who, self.world.clock.now())
            assert user is not None
            await tx.passwords.put(tenant.id, user.id, hash_, self.world.clock.now())
        self.world.clock.advance(seconds=1)
        return user

    async def enter(
        self, password: str, device: str | None = None, tenant: TenantId = ANY_TENANT, network: str = HOME
    ) -> SignedIn:
        return await self.sign_in.sign_in(Attempt(tenant, ANN, True, password, network, device=device))

    async def fail(self, password: str, device: str | None = None, **where: Any) -> str:
        with pytest.raises(DocuChatError) as refused:
            await self.enter(password, device, **where)
        return refused.value.code


@pytest.fixture
async def logins(make_world: Callable[[], Awaitable[World]]) -> AsyncIterator[Logins]:
    world = await make_world()
    client = world.codes._client
    async with AsyncExitStack() as stack:
        limiter = await stack.enter_async_context(
            RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=5))
        )
        pool = await stack.enter_async_context(PasswordPool.open(2, 64))
        # 2 of a known device, 2 of a network, 8 of all others, 20 of a network at anybody
        attempts = Attempts(client, limiter, GuessBudget(5, 10), parse_rates("20/h"))
        sign_in = PasswordSignIn(
            world.uow,
            world.sessions,
            pool,
            attempts,
            KeyedPseudonyms(SECRET),
            world.clock,
            timedelta(milliseconds=1),
        )
        yield Logins(world, sign_in, pool)


async def test_a_claim_of_the_same_address_takes_nothing_from_a_known_device(logins: Logins) -> None:
    home, evil = await logins.world.tenant("home"), await logins.world.tenant("evil")
    await logins.account(home, ANNS, proven=True)
    await logins.account(evil, EVES, proven=False)
    device = (await logins.enter(ANNS, tenant=home.id)).device
    theirs = (await logins.enter(EVES, tenant=evil.id, network=ELSEWHERE)).device
    for where in (evil.id, ANY_TENANT, home.id):
        for _ in range(12):
            await logins.fail("wrong", theirs, tenant=where, network=ELSEWHERE)
    assert (await logins.enter(ANNS, device, tenant=home.id)).device == device
    assert (await logins.enter(ANNS, device)).tenant.id == home.id
    assert [await logins.fail("wrong", device, tenant=home.id) for _ in range(3)] == [
        "invalid_credentials", "invalid_credentials", "too_many_attempts",
    ]  # fmt: skip


async def test_a_device_that_is_not_known_gets_a_name_of_ours(logins: Logins) -> None:
    home = await logins.world.tenant("home")
    await logins.account(home, ANNS, proven=True)
    assert (await logins.enter(ANNS, "my-own-choice-of-a-name")).device != "my-own-choice-of-a-name"


async def test_who_is_told_to_come_back_has_guessed_nothing(logins: Logins) -> None:
    home = await logins.world.tenant("home")
    await logins.account(home, ANNS, proven=True)
    gate = threading.Event()
    try:
        flood = [asyncio.ensure_future(logins.pool.run(gate.wait, HOME)) for _ in range(16)]
        await asyncio.sleep(0)  # the network's room is full
        assert {await logins.fail(ANNS) for _ in range(12)} == {"passwords_busy"}
    finally:
        gate.set()
    await asyncio.gather(*flood)
    assert (await logins.enter(ANNS)).tenant.id == home.id


async def test_the_right_password_of_a_claim_is_no_free_guess_at_anothers(logins: Logins) -> None:
    home, evil = await logins.world.tenant("home"), await logins.world.tenant("evil")
    await logins.account(home, ANNS, proven=True)
    await logins.account(evil, EVES, proven=False)
    for _ in range(2):
        assert (await logins.enter(EVES, network=ELSEWHERE)).tenant.id == evil.id
    assert await logins.fail(EVES, network=ELSEWHERE) == "too_many_attempts"
    device = (await logins.enter(EVES, tenant=evil.id)).device  # which may go on, and is asked about nobody else then
    for _ in range(9):
        assert (await logins.enter(EVES, device, network=ELSEWHERE)).tenant.id == evil.id
    async with logins.world.uow(evil.id) as tx:  # as by changing it: were it the other's, that would show
        (claim,) = await tx.users.list_claimants(evil.id, ANN)
        hash_ = await logins.pool.hash(ANNS, ELSEWHERE)
        await tx.passwords.put(evil.id, claim.id, hash_, logins.world.clock.now())
    assert (await logins.enter(ANNS, device, network=ELSEWHERE)).tenant.id == evil.id


async def test_later_claims_take_the_sign_in_from_nobody_who_was_there(logins: Logins) -> None:
    home = await logins.world.tenant("home")
    first = await logins.account(home, ANNS, proven=False)
    for _ in range(3):
        await logins.account(home, EVES, proven=False)
    entered = await logins.enter(ANNS)
    assert entered.user.id == first.id
    own = await logins.account(home, "a third long secret", proven=False)
    device = (await logins.enter("a third long secret")).device
    for _ in range(2):
        await logins.account(home, EVES, proven=False)
    assert await logins.fail("a third long secret", network=ELSEWHERE) == "invalid_credentials"
    assert (await logins.enter("a third long secret", device)).user.id == own.id


async def test_guesses_at_made_up_challenges_use_nothing_of_the_owner_up(logins: Logins) -> None:
    tenant = await logins.world.tenant()
    for number in range(60):
        made_up = f"made-up-challenge-{number:04d}"
        assert await guess(logins.world, tenant, "000000", made_up, f"203.0.113.{number % 3}") == "invalid_code"
    code, challenge = await logins.world.ask_with_challenge(tenant, ANN)
    assert await guess(logins.world, tenant, code, challenge) == "in"
    assert await guess(logins.world, tenant, code, challenge) == "invalid_code"


async def test_a_network_fails_so_often_over_all_accounts_and_known_devices_and_right_passwords_go_on(
    logins: Logins,
) -> None:
    home = await logins.world.tenant("home")
    await logins.account(home, ANNS, proven=True)
    device = (await logins.enter(ANNS)).device
    for _ in range(22):  # successes count for nothing
        await logins.enter(ANNS)

    async def spray(network: str, count: int) -> list[str]:
        """A guess at somebody else each."""
        codes = []
        for number in range(count):
            who = Email(f"somebody-{number}@example.com")
            with pytest.raises(DocuChatError) as refused:
                await logins.sign_in.sign_in(Attempt(ANY_TENANT, who, True, "wrong", network))
            codes.append(refused.value.code)
        return codes

    assert await spray(HOME, 21) == ["invalid_credentials"] * 20 + ["too_many_attempts"]
    assert await logins.fail(ANNS) == "too_many_attempts"  # a device that nobody knows
    assert (await logins.enter(ANNS, device)).device == device
    assert (await logins.enter(ANNS, network=ELSEWHERE)).user.email == ANN
    assert await guess(logins.world, home, await logins.world.ask(home, ANN)) == "in"  # by mail from a new device, too


async def test_who_goes_takes_along_what_was_counted_and_a_mere_claim_nothing_of_the_owners(logins: Logins) -> None:
    home, evil = await logins.world.tenant("home"), await logins.world.tenant("evil")
    ann = await logins.account(home, ANNS, proven=True)
    claim = await logins.account(evil, EVES, proven=False)
    anns = (await logins.enter(ANNS, tenant=home.id)).device
    eves = (await logins.enter(EVES, tenant=evil.id, network=ELSEWHERE)).device
    for number in range(8):  # all that strangers have
        await logins.fail("wrong", network=f"203.0.113.{number + 2}")
    assert await logins.fail(ANNS) == "too_many_attempts"
    subject = KeyedPseudonyms(SECRET).of_email(ANN)

    async def known(device: str) -> set[UserId]:
        return set(await logins.sign_in._attempts.find_known(subject, device))

    await logins.sign_in.forget_removed(claim)
    assert (await known(eves), await known(anns)) == (set(), {ann.id})
    assert await logins.fail(ANNS) == "too_many_attempts"  # nobody begins anew by claiming the address and going
    await logins.sign_in.forget_removed(ann)
    assert await known(anns) == set()
    assert await logins.enter(ANNS)


async def test_claims_that_are_older_do_not_hide_the_tenant_in_which_the_address_is_proven(logins: Logins) -> None:
    world = logins.world
    await world.admin.execute("""
        INSERT INTO auth.tenants (slug, name, signup, signup_open)
        SELECT 'evil-' || n, 'Evil', 'invite', false FROM generate_series(1, 20) AS n
    """)
    await world.admin.execute("""
        INSERT INTO auth.users (tenant_id, id, claimed_email, role, created_at)
        SELECT id, gen_random_uuid(), 'ann@example.com', 'owner', now() FROM auth.tenants
    """)
    home = await world.tenant("home")
    await logins.account(home, ANNS, proven=True)
    assert (await logins.enter(ANNS)).tenant.id == home.id
    async with world.uow.system() as tx:
        assert await tx.users.find_homes(ANN) == [home.id]


async def test_mails_to_those_who_claim_an_address_leave_its_owner_the_own(logins: Logins) -> None:
    world = logins.world
    home = await world.tenant("home")
    for number in range(20):
        await world.sign_in._desk.issue(Account(home.id, ANN, Purpose.VERIFY), f"203.0.113.{number}")
    assert await world.ask(home, ANN)


async def test_a_suspended_tenant_takes_nobody(logins: Logins) -> None:
    world = logins.world
    home = await world.tenant("home")
    await world.sign_in_as(home, "boss@example.com")
    await world.tenants.set_suspended(home.id, is_suspended=True)
    with pytest.raises(InvalidCode):
        await world.sign_in_as(home, ANN)
    assert (await world.sign_in_as(home, "boss@example.com")).access_token
    suspended = await world.tenants.get_by_reference("home")
    assert not suspended.admits(ANN) and home.admits(ANN)
