"""Accounts whose address was never proven go, and nobody else's."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.members.service import Members
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.users.domain import Email, Newcomer, User, Username
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import AuditRecorded, UserRemoved
from docuchat_common.ids import uuid7
from docuchat_testkit.eventually import eventually

KEPT = timedelta(days=180)
Claim = Callable[..., Awaitable[User]]


@pytest.fixture
async def world(make_world: Any) -> Any:
    return await make_world()


@pytest.fixture
async def tenant(world: Any) -> Any:
    made = await world.tenant()
    await world.sign_in_as(made, "owner@example.com")
    return made


@pytest.fixture
def claim(world: Any, tenant: Any) -> Claim:
    """Registers somebody who claims an address."""

    async def register(name: str, **more: Any) -> User:
        async with world.uow(tenant.id) as tx:
            newcomer = Newcomer(claimed_email=Email(f"{name}@example.com"), username=more.pop("username", None))
            user = await tx.users.register(tenant.id, newcomer, world.clock.now(), may_own=False, **more)
        assert user is not None
        return user

    return register


async def test_who_never_proved_the_address_and_did_not_come_back_is_removed_and_nobody_else(
    world: Any, tenant: Any, claim: Claim
) -> None:
    names = ("gone", "back", "fresh", "keyed", "shut", "known")
    gone, back, refreshed, keyed, shut, known = [await claim(name) for name in names]
    await claim("owns", role=Role.OWNER)
    await claim("named", username=Username("ann.99"))
    async with world.uow(tenant.id) as tx:
        await tx.users.change(tenant.id, shut.id, Role.MEMBER, is_active=False)
    key = "INSERT INTO auth.api_keys VALUES ($1, $2, 'k', $3, NULL, '{}', '{}', $3, now(), NULL)"
    await world.admin.execute(key, tenant.id, uuid7(), keyed.id)
    async with world.admin.transaction():  # a provider needs more than this test is about
        await world.admin.execute("SET LOCAL session_replication_role = replica")
        identity = "INSERT INTO auth.federated_identities VALUES ($1, $2, 's', $3, now())"
        await world.admin.execute(identity, tenant.id, uuid7(), known.id)
    world.clock.advance(days=100)
    for user, act in ((back, "login"), (refreshed, "session")):
        async with world.uow(tenant.id) as tx:
            if act == "login":
                await tx.users.record_login(tenant.id, user.id, world.clock.now())
            else:
                await world.sessions.start(tx, user, SignInMethod.REGISTRATION, is_part=True)
    await claim("new")
    before = {user.id for user in await world.users()}
    world.clock.advance(days=100)

    forgotten: list[User] = []

    async def forget(user: User) -> int:
        forgotten.append(user)
        return 1

    members = Members(world.uow, world.sessions, world.revisions, [forget])
    assert await members.forget_unproven(world.clock.now() - KEPT) == 1
    assert [user.id for user in forgotten] == [gone.id]
    assert await world.members.forget_unproven(world.clock.now() - KEPT) == 0
    assert before - {user.id for user in await world.users()} == {gone.id}
    events = await world.events()
    assert [event.user_id for event in events if isinstance(event, UserRemoved)] == [gone.id]
    (told,) = [event for event in events if isinstance(event, AuditRecorded) and event.action == "user.remove"]
    wanted = (tenant.id, "command", str(gone.id), "the address was never proven")
    assert (told.tenant_id, told.subject_type, told.object_id, told.detail) == wanted


async def test_who_proves_the_address_while_the_sweep_is_on_its_way_stays(
    world: Any, tenant: Any, claim: Claim
) -> None:
    late = await claim("late")
    world.clock.advance(days=200)
    async with world.uow(tenant.id) as tx:
        await tx.users.lock_all(tenant.id)
        sweep = asyncio.create_task(world.members.forget_unproven(world.clock.now() - KEPT))

        async def waits() -> bool:
            return bool(await world.admin.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

        await eventually(waits)
        assert await tx.users.prove_email(tenant.id, late.id, late.claimed_email)
    assert await sweep == 0
    assert late.id in {user.id for user in await world.users()}
