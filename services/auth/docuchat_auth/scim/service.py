"""Make, change and close accounts and groups as a company's directory says. Owners are left to themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.domains.service import unproven
from docuchat_auth.groups.domain import Group
from docuchat_auth.groups.errors import GroupNameTaken, GroupNotFound
from docuchat_auth.groups.service import Place, regroup
from docuchat_auth.identity_providers.domain import domain_of
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import set_rights
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.scim.domain import (
    MOST_MEMBERS,
    Filter,
    GroupChange,
    MemberChange,
    ScimGroup,
    ScimUser,
    UserChange,
    user_name_of,
)
from docuchat_auth.scim.errors import ScimInvalidValue, ScimMutability, ScimUniqueness
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.addresses import parse_address
from docuchat_auth.users.domain import Email, Newcomer, User, parse_username
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import require_no_way_back, require_still
from docuchat_common.acts import excuse_act, part_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, UserId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class Provisioning:
    """What a directory does. Who is made has no credential yet: they sign in by the provider, or by a mailed code."""

    def __init__(self, uow: UnitOfWork[Tx], sessions: Sessions, revisions: Revisions, clock: Clock) -> None:
        self._uow = uow
        self._sessions = sessions
        self._revisions = revisions
        self._clock = clock

    async def create_user(self, caller: Caller, wanted: UserChange) -> ScimUser:
        """A member. Raises ScimInvalidValue, ScimUniqueness."""
        tenant_id = caller.tenant_id
        async with self._uow(tenant_id) as tx:
            await require_still(tx, caller, "directory.sync")
            newcomer = await self._newcomer(tx, tenant_id, wanted)
            user = await tx.users.register(tenant_id, newcomer, self._clock.now(), may_own=False, role=Role.MEMBER)
            if user is None:
                raise ScimUniqueness
            if wanted.is_active is False:
                await set_rights(tx, self._sessions, self._revisions, user, user.role, is_active=False)
            if wanted.external_id is not None:
                await tx.external_ids.put_user(tenant_id, user.id, wanted.external_id)
            tx.outbox.add(UserRegistered(tenant_id=tenant_id, user_id=user.id, role=user.role.value))
            tx.outbox.add(entry(caller, "user.provision", user.id))
            made = await _get_user(tx, tenant_id, user.id)
        logger.info("user.registered", tenant_id=tenant_id, user_id=str(user.id), role=user.role.value, by="scim")
        return made

    async def change_user(self, caller: Caller, user_id: UserId, change: UserChange) -> ScimUser:
        """The user after it. Raises UserNotFound, OwnersOnly, ScimMutability."""
        tenant_id = caller.tenant_id
        async with self._uow(tenant_id) as tx:
            await tx.users.lock_all(tenant_id)
            await require_still(tx, caller, "directory.sync", user_id)
            before = await _get_user(tx, tenant_id, user_id)
            user = before.user
            if change.user_name is not None and change.user_name.lower() != user_name_of(user):
                raise ScimMutability
            change = change.besides(before)
            if change == UserChange():
                excuse_act()
                return before
            if user.role is Role.OWNER:
                raise OwnersOnly
            if change.is_active:
                await require_no_way_back(tx, caller, "directory.sync", user_id)
            tx.outbox.add(entry(caller, "user.sync", user_id, detail=await self._apply(tx, user, change)))
            return await _get_user(tx, tenant_id, user_id)

    async def get_user(self, tenant_id: TenantId, user_id: UserId) -> ScimUser:
        """Raises UserNotFound."""
        async with self._uow(tenant_id) as tx:
            return await _get_user(tx, tenant_id, user_id)

    async def list_users(
        self, tenant_id: TenantId, wanted: Filter | None, skip: int, limit: int
    ) -> tuple[list[ScimUser], int]:
        """The wanted users by id, without the first `skip`, and how many there are."""
        async with self._uow(tenant_id) as tx:
            if wanted is None:
                users = await tx.users.list_from(tenant_id, skip, limit)
                total = await tx.users.count(tenant_id)
            else:
                found = await _find_users(tx, tenant_id, wanted)
                users, total = found[skip : skip + limit], len(found)
            names = await tx.external_ids.list_of(tenant_id, [user.id for user in users])
        return [ScimUser(user, names.get(user.id)) for user in users], total

    async def create_group(self, caller: Caller, wanted: GroupChange) -> ScimGroup:
        """Raises OwnersOnly, ScimInvalidValue, ScimUniqueness, TooManyGroups."""
        if wanted.name is None:
            raise ScimInvalidValue("A group needs a `displayName`.")
        tenant_id, group_id = caller.tenant_id, uuid7()
        async with self._uow(tenant_id) as tx:
            coming, _ = await _moves(tx, caller, group_id, wanted.members)
            await _name(tx, tenant_id, group_id, wanted.name, moment=self._clock.now())
            if wanted.external_id is not None:
                await tx.external_ids.put_group(tenant_id, group_id, wanted.external_id)
            await self._move(tx, caller, coming, [])
            tx.outbox.add(entry(caller, "group.create", group_id))
            return await _get_group(tx, tenant_id, group_id)

    async def change_group(self, caller: Caller, group_id: UUID, change: GroupChange) -> ScimGroup:
        """The group after it. Raises GroupNotFound, OwnersOnly, ScimInvalidValue, ScimUniqueness, TooManyGroups."""
        tenant_id = caller.tenant_id
        async with self._uow(tenant_id) as tx:
            is_there = await tx.groups.lock(tenant_id, group_id)
            coming, leaving = await _moves(tx, caller, group_id, change.members)
            if not is_there:
                raise GroupNotFound
            before, changed = await _get_group(tx, tenant_id, group_id), []
            if change.name not in (None, before.group.name):
                await _name(tx, tenant_id, group_id, change.name or "", moment=None)
                changed.append("name")
            if change.external_id is not None and change.external_id != before.external_id:
                await tx.external_ids.put_group(tenant_id, group_id, change.external_id)
                changed.append("external id")
            if await self._move(tx, caller, coming, leaving):
                changed.append(f"members +{len(coming)} -{len(leaving)}")
            if not changed:
                excuse_act()
                return before
            tx.outbox.add(entry(caller, "group.sync", group_id, detail=", ".join(changed)))
            return await _get_group(tx, tenant_id, group_id)

    async def get_group(self, tenant_id: TenantId, group_id: UUID) -> ScimGroup:
        """Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            return await _get_group(tx, tenant_id, group_id)

    async def list_groups(
        self, tenant_id: TenantId, wanted: Filter | None, skip: int, limit: int
    ) -> tuple[list[ScimGroup], int]:
        """The wanted groups by id, without the first `skip`, and how many there are; their members are not told."""
        async with self._uow(tenant_id) as tx:
            if wanted is None:
                groups = await tx.groups.list_from(tenant_id, skip, limit)
                total = await tx.groups.count(tenant_id)
            else:
                found = await _find_groups(tx, tenant_id, wanted)
                groups, total = found[skip : skip + limit], len(found)
            names = await tx.external_ids.list_of(tenant_id, [group.id for group in groups])
        return [ScimGroup(group, names.get(group.id), ()) for group in groups], total

    @staticmethod
    async def _newcomer(tx: Tx, tenant_id: TenantId, wanted: UserChange) -> Newcomer:
        given = wanted.user_name or ""
        if "@" not in given:
            username = parse_username(given)
            if username is None:
                raise ScimInvalidValue("A `userName` is an address of mail, or 2 to 63 letters, digits, `.`, `-`, `_`.")
            return Newcomer(username=username, name=wanted.name)
        try:
            email = Email(parse_address(given))
        except ValueError as error:
            raise ScimInvalidValue("The `userName` is no address of mail.") from error
        tenant = await tx.tenants.find_by_id(tenant_id)
        if tenant is None or await unproven(tx, tenant, [domain_of(email)]):
            raise ScimInvalidValue("The domain of this address is not proven (POST /v1/domains).")
        return Newcomer(email=email, name=wanted.name)

    async def _apply(self, tx: Tx, user: User, change: UserChange) -> str:
        """What was changed, in words."""
        changed = []
        if change.name is not None:
            await tx.users.rename(user.tenant_id, user.id, change.name)
            changed.append("name")
        if change.external_id is not None:
            await tx.external_ids.put_user(user.tenant_id, user.id, change.external_id)
            changed.append("external id")
        if change.is_active is not None:
            # who runs the tenant is for people to say, not for a key: a closed admin comes back as a member
            role = Role.MEMBER if change.is_active and user.role is Role.ADMIN else user.role
            said = await set_rights(tx, self._sessions, self._revisions, user, role, is_active=change.is_active)
            lowered = f", {user.role.value} to {role.value}" if role is not user.role else ""
            changed.append(("active" if change.is_active else "deactivated") + lowered + said)
        return ", ".join(changed)

    async def _move(self, tx: Tx, caller: Caller, coming: Sequence[Place], leaving: Sequence[Place]) -> bool:
        """Whether anybody came or went. Raises OwnersOnly, ScimInvalidValue, TooManyGroups."""
        for name in ("group.add_member", "group.remove_member"):
            part_act(name)
        try:
            moved = await regroup(tx, self._revisions, self._clock.now(), caller, joining=coming, leaving=leaving)
        except UserNotFound as error:
            raise ScimInvalidValue(error.detail) from error
        for _, user_id in moved:
            user = await tx.users.find_by_id(caller.tenant_id, user_id)
            if user is not None and user.role is Role.OWNER:
                raise OwnersOnly
        return bool(moved)


async def _moves(tx: Tx, caller: Caller, group_id: UUID, change: MemberChange) -> tuple[list[Place], list[Place]]:
    """Who is to come and to go, all held; and whether the caller may still have that done, as `require_still`."""
    members = await tx.groups.list_members_after(caller.tenant_id, group_id, None, None)
    present: set[UUID] = {one.user_id for one in members}
    if change.replaces is not None:
        coming, leaving = change.replaces - present, present - change.replaces
    else:
        coming, leaving = change.adds - present, present & change.removes
    await require_still(tx, caller, "directory.sync", *map(UserId, coming | leaving))
    return [(group_id, UserId(one)) for one in coming], [(group_id, UserId(one)) for one in leaving]


async def _name(tx: Tx, tenant_id: TenantId, group_id: UUID, name: str, *, moment: datetime | None) -> None:
    try:
        if moment is None:
            await tx.groups.rename(tenant_id, group_id, name)
        else:
            await tx.groups.add(tenant_id, group_id, name, moment)
    except GroupNameTaken as error:
        raise ScimUniqueness from error


async def _get_user(tx: Tx, tenant_id: TenantId, user_id: UserId) -> ScimUser:
    user = await tx.users.find_by_id(tenant_id, user_id)
    if user is None:
        raise UserNotFound
    return ScimUser(user, (await tx.external_ids.list_of(tenant_id, [user_id])).get(user_id))


async def _find_users(tx: Tx, tenant_id: TenantId, wanted: Filter) -> list[User]:
    if wanted.attribute == "name":
        value = wanted.value.lower()
        username = parse_username(value)
        found = [
            await tx.users.find_by_email(tenant_id, Email(value)),
            *await tx.users.list_claimants(tenant_id, Email(value)),
            None if username is None else await tx.users.find_by_username(tenant_id, username),
        ]
        return [user for user in found if user is not None and user_name_of(user) == value][:1]
    if wanted.attribute == "external_id":
        user_id = await tx.external_ids.find_user(tenant_id, wanted.value)
    else:
        user_id = _user_id(wanted.value)
    user = None if user_id is None else await tx.users.find_by_id(tenant_id, user_id)
    return [] if user is None else [user]


async def _get_group(tx: Tx, tenant_id: TenantId, group_id: UUID) -> ScimGroup:
    group = await tx.groups.find(tenant_id, group_id)
    if group is None:
        raise GroupNotFound
    members = await tx.groups.list_members_after(tenant_id, group_id, None, MOST_MEMBERS)
    names = await tx.external_ids.list_of(tenant_id, [group_id])
    return ScimGroup(group, names.get(group_id), [member.user_id for member in members])


async def _find_groups(tx: Tx, tenant_id: TenantId, wanted: Filter) -> list[Group]:
    if wanted.attribute == "name":
        found = await tx.groups.find_by_name(tenant_id, wanted.value)
        return [] if found is None else [found]
    group_id: UUID | None = _user_id(wanted.value)
    if wanted.attribute == "external_id":
        group_id = await tx.external_ids.find_group(tenant_id, wanted.value)
    group = None if group_id is None else await tx.groups.find(tenant_id, group_id)
    return [] if group is None else [group]


def _user_id(text: str) -> UserId | None:
    try:
        return UserId(UUID(text))
    except ValueError:
        return None
