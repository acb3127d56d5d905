"""What API keys may do to people: nothing to those who run the tenant, and nothing for who was shown their secret."""

from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.api_keys.domain import NewKey
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.scim.domain import GroupChange, UserChange
from docuchat_auth.scim.domain import MemberChange as GroupMembers
from docuchat_auth.scim.service import Provisioning
from docuchat_common.contracts.permissions import Action, Role
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import uuid7

from .test_members import NOT_ACTIVE, People

ACTIVE = MemberChange(is_active=True)


@pytest.fixture
async def people(make_world: Any) -> People:
    return await People(await make_world()).join()


def _provisioning(people: People) -> Provisioning:
    world = people.world
    return Provisioning(world.uow, world.sessions, world.revisions, world.clock)


async def _changes(people: People, key: Caller, *changes: tuple[str, MemberChange]) -> None:
    for name, change in changes:
        await people.world.members.change(people.tenant.id, people.users[name].id, change, key)


async def test_no_key_says_who_runs_the_tenant(people: People) -> None:
    bob, tenant_id = people.users["bob"], people.tenant.id
    of_bob = Caller(tenant_id, "key", uuid7(), role="admin", owner_id=bob.id)
    for key in (await people.world.service_key(people.tenant), of_bob):
        for refused in (("eve", MemberChange(Role.ADMIN)), ("bob", MemberChange(Role.MEMBER)), ("bob", NOT_ACTIVE)):
            with pytest.raises(NotAllowed):
                await _changes(people, key, refused)
        with pytest.raises(NotAllowed):
            await people.world.members.remove(tenant_id, bob.id, key, hand_over_to=None)
        await _changes(people, key, ("eve", MemberChange(Role.VIEWER)), ("eve", NOT_ACTIVE), ("eve", ACTIVE))


async def test_a_key_of_the_tenant_is_no_way_back_for_who_was_shown_its_secret(people: People) -> None:
    world, tenant_id = people.world, people.tenant.id
    ann, bob, eve = (people.users[name] for name in ("ann", "bob", "eve"))
    keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
    scopes: frozenset[Action] = frozenset({"users.manage", "groups.manage", "directory.sync"})
    made = await keys.create(people.caller("ann"), NewKey("directory", scopes, (), None, Role.ADMIN))
    await keys.rotate(people.caller("bob"), made.key.id, timedelta(0))
    key, directory = Caller(tenant_id, "key", made.key.id, role="admin"), _provisioning(people)
    group = await world.groups.create(key, "Legal")
    await world.groups.add_member(key, group.id, bob.id)  # who could do it without
    await world.groups.remove_member(key, group.id, bob.id)

    await people.change("bob", MemberChange(Role.VIEWER), "ann")
    joining = GroupChange(members=GroupMembers(adds=frozenset({bob.id})))
    for refused in (
        lambda: _changes(people, key, ("bob", MemberChange(Role.MEMBER))),
        lambda: world.members.remove(tenant_id, eve.id, key, hand_over_to=bob.id),
        lambda: world.groups.add_member(key, group.id, bob.id),
        lambda: directory.change_group(key, group.id, joining),
    ):
        with pytest.raises(NotAllowed, match="rotate the key"):
            await refused()
    await world.groups.add_member(key, group.id, eve.id)
    await directory.change_user(key, bob.id, UserChange(is_active=False))
    told = [event.detail or "" for event in await world.events() if isinstance(event, AuditRecorded)]
    assert "1 service keys known to this user go on: rotate them" in "".join(told)
    for again in (
        lambda: _changes(people, key, ("bob", ACTIVE)),
        lambda: directory.change_user(key, bob.id, UserChange(is_active=True)),
    ):
        with pytest.raises(NotAllowed, match="rotate the key"):
            await again()

    await keys.rotate(people.caller("ann"), made.key.id, timedelta(0))
    back = await directory.change_user(key, bob.id, UserChange(is_active=True))
    assert back.user.is_active
    assert (await keys.list_after(people.caller("ann"), None, 10))[0].secrets[0].shown_to == ann.id


async def test_an_admin_whom_a_directory_closed_and_opens_again_is_a_member(people: People) -> None:
    directory, key = _provisioning(people), await people.world.service_key(people.tenant)
    bob = people.users["bob"]
    assert not (await directory.change_user(key, bob.id, UserChange(is_active=False))).user.is_active
    back = (await directory.change_user(key, bob.id, UserChange(is_active=True))).user
    assert (back.is_active, back.role) == (True, Role.MEMBER)
    told = [event.detail for event in await people.world.events() if isinstance(event, AuditRecorded)]
    assert "active, admin to member" in told
