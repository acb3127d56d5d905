"""Invitations: from whom, how many, and until when."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.invitations.domain import InvitationMail
from docuchat_auth.invitations.errors import AddressUnproven, InvitationNotFound
from docuchat_auth.invitations.service import InvitationPolicy, Invitations
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.scim.domain import UserChange
from docuchat_auth.scim.service import Provisioning
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import uuid7
from docuchat_common.rate_limits import RateLimiter, parse_rates
from docuchat_testkit.eventually import eventually

from .conftest import SECRET, World

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
VIC = Email("vic@example.com")


@dataclass
class Offers:
    """Invitations on the test's database and Redis, and what was mailed."""

    world: World
    invitations: Invitations
    mails: list[InvitationMail] = field(default_factory=list)

    async def person(self, tenant: Tenant, name: str, role: Role, *, proven: bool = True) -> tuple[User, Caller]:
        email = Email(f"{name}@example.com")
        who = Newcomer(email=email) if proven else Newcomer(claimed_email=email)
        async with self.world.uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, who, self.world.clock.now(), may_own=False, role=role)
        assert user is not None
        return user, Caller(tenant.id, "user", user.id, role=role.value)

    async def pending(self, tenant: Tenant) -> set[str]:
        return {str(one.email) for one in await self.invitations.list_after(tenant.id, None, 100)}


@pytest.fixture
async def offers(make_world: Callable[[], Awaitable[World]]) -> AsyncIterator[Offers]:
    world = await make_world()
    mails: list[InvitationMail] = []

    async def hand_over(mail: InvitationMail) -> None:
        mails.append(mail)

    policy = InvitationPolicy(timedelta(days=7), parse_rates("100/h"), parse_rates("2/h"))
    async with RateLimiter.open(
        world.codes._client, name="auth:limit", fail_open=False, patience=timedelta(seconds=5)
    ) as limiter:
        pseudonyms = KeyedPseudonyms(SECRET)
        no_passwords = cast(Any, None)
        invitations = Invitations(
            world.uow, world.sessions, no_passwords, limiter, pseudonyms, hand_over, world.clock, policy
        )
        yield Offers(world, invitations, mails)


async def test_nobody_is_invited_before_who_manages_the_tenant_can_be_reached(offers: Offers) -> None:
    tenant = await offers.world.tenant()
    founder, caller = await offers.person(tenant, "founder", Role.OWNER, proven=False)
    await offers.person(tenant, "member", Role.MEMBER)
    with pytest.raises(AddressUnproven):
        await offers.invitations.invite(caller, VIC, Role.MEMBER)
    assert offers.mails == []
    async with offers.world.uow(tenant.id) as tx:
        assert await tx.users.prove_email(tenant.id, founder.id, Email("founder@example.com"))
    await offers.invitations.invite(caller, VIC, Role.MEMBER)
    assert [mail.email for mail in offers.mails] == [VIC]


async def test_what_one_tenant_sends_an_address_is_not_told_to_another_and_ends_all_the_same(offers: Offers) -> None:
    for number in range(6):
        tenant = await offers.world.tenant(f"tenant-{number}")
        _, caller = await offers.person(tenant, "boss", Role.OWNER)
        for _ in range(2):
            await offers.invitations.invite(caller, VIC, Role.MEMBER)
        with pytest.raises(TooManyAttempts):
            await offers.invitations.invite(caller, VIC, Role.MEMBER)
        assert await offers.pending(tenant) == {VIC}
    assert len(offers.mails) == 8


async def test_an_invitation_that_is_revoked_while_it_is_sent_again_stays_revoked(offers: Offers) -> None:
    tenant = await offers.world.tenant()
    _, caller = await offers.person(tenant, "boss", Role.OWNER)
    invitation = await offers.invitations.invite(caller, VIC, Role.ADMIN)
    async with offers.world.uow(tenant.id) as tx:
        await tx.invitations.delete(tenant.id, invitation.id)
        sending = asyncio.create_task(offers.invitations.resend(caller, invitation.id))
        await eventually(lambda: offers.world.admin.fetchval(WAITING))
    with pytest.raises(InvitationNotFound):
        await sending
    assert await offers.pending(tenant) == set() and len(offers.mails) == 1


async def test_what_somebody_offered_ends_with_the_right_to_offer_it(offers: Offers) -> None:
    tenant = await offers.world.tenant()
    _, boss = await offers.person(tenant, "boss", Role.OWNER)
    left, leaving = await offers.person(tenant, "left", Role.OWNER)
    await offers.invitations.invite(boss, Email("a@example.com"), Role.OWNER)
    await offers.invitations.invite(leaving, Email("b@example.com"), Role.OWNER)
    await offers.invitations.invite(leaving, Email("c@example.com"), Role.ADMIN)
    change = offers.world.members.change
    await change(tenant.id, left.id, MemberChange(role=Role.ADMIN), boss)
    assert await offers.pending(tenant) == {"a@example.com", "c@example.com"}
    await change(tenant.id, left.id, MemberChange(role=Role.MEMBER), boss)
    assert await offers.pending(tenant) == {"a@example.com"}
    told = [event.detail for event in await offers.world.events() if isinstance(event, AuditRecorded)]
    assert "admin to member, active; 1 invitations void" in told


async def test_what_was_offered_by_hand_or_by_key_ends_also_when_a_directory_closes_the_account(offers: Offers) -> None:
    world, tenant = offers.world, await offers.world.tenant()
    directory = await world.service_key(tenant)
    _, boss = await offers.person(tenant, "boss", Role.OWNER)
    eve, caller = await offers.person(tenant, "eve", Role.ADMIN)
    by_key = Caller(tenant.id, "key", uuid7(), role="admin", owner_id=eve.id)
    for by, name in ((boss, "a"), (caller, "b"), (by_key, "c"), (directory, "d")):
        await offers.invitations.invite(by, Email(f"{name}@example.com"), Role.MEMBER)
    provisioning = Provisioning(world.uow, world.sessions, world.revisions, world.clock)
    await provisioning.change_user(directory, eve.id, UserChange(is_active=False))
    assert await offers.pending(tenant) == {"a@example.com", "d@example.com"}
    await ApiKeys(world.uow, world.keys, world.revisions, world.clock).revoke(boss, directory.subject_id)
    assert await offers.pending(tenant) == {"a@example.com"}
    told = [event.detail for event in await world.events() if isinstance(event, AuditRecorded)]
    assert {"deactivated; 2 invitations void", "1 invitations void"} <= set(told)


async def test_no_key_invites_somebody_who_would_run_the_tenant(offers: Offers) -> None:
    tenant = await offers.world.tenant()
    _, boss = await offers.person(tenant, "boss", Role.OWNER)
    eve, _ = await offers.person(tenant, "eve", Role.ADMIN)
    pending = await offers.invitations.invite(boss, VIC, Role.ADMIN)
    for key in (
        await offers.world.service_key(tenant),
        Caller(tenant.id, "key", uuid7(), role="admin", owner_id=eve.id),
    ):
        with pytest.raises(NotAllowed):
            await offers.invitations.invite(key, Email("a@example.com"), Role.ADMIN)
        with pytest.raises(NotAllowed):
            await offers.invitations.resend(key, pending.id)
        with pytest.raises(OwnersOnly):
            await offers.invitations.invite(key, Email("a@example.com"), Role.OWNER)
    assert [mail.email for mail in offers.mails] == [VIC]
