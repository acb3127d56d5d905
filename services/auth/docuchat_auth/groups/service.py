"""Groups of people: whom a restricted collection can be shown to. A change reaches open tokens within seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.groups.domain import MOST_GROUPS, Group, Membership
from docuchat_auth.groups.errors import GroupNotFound, TooManyGroups
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import outdate, require_no_way_back, require_still
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, UserId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

Place = tuple[UUID, UserId]
"""Of a user in a group."""


async def groups_of(tx: Tx, user: User) -> list[UUID]:
    """What a token of the user names."""
    return await tx.groups.list_of(user.tenant_id, user.id)


class Groups:
    """Makes groups and says who is in them. Whoever comes or goes gets a new version, so that older tokens end."""

    def __init__(self, uow: UnitOfWork[Tx], revisions: Revisions, clock: Clock) -> None:
        self._uow = uow
        self._revisions = revisions
        self._clock = clock

    async def create(self, by: Caller, name: str, settle: Settle[Group] = without_key) -> Group:
        """Raises GroupNameTaken, and as `require_still`."""
        group = Group(by.tenant_id, uuid7(), name, 0, self._clock.now())
        async with self._uow(by.tenant_id) as tx:
            await require_still(tx, by, "groups.manage")
            await tx.groups.add(by.tenant_id, group.id, name, group.created_at)
            tx.outbox.add(entry(by, "group.create", group.id))
            await settle(tx, group)
        logger.info("group.created", tenant_id=by.tenant_id, group_id=str(group.id))
        return group

    async def get(self, tenant_id: TenantId, group_id: UUID) -> Group:
        """Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            return await self._get(tx, tenant_id, group_id)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[Group]:
        """The next groups by id."""
        async with self._uow(tenant_id) as tx:
            return await tx.groups.list_after(tenant_id, after, limit)

    async def rename(self, by: Caller, group_id: UUID, name: str) -> Group:
        """Raises GroupNotFound, GroupNameTaken, and as `require_still`."""
        async with self._uow(by.tenant_id) as tx:
            await require_still(tx, by, "groups.manage")
            await tx.groups.rename(by.tenant_id, group_id, name)
            tx.outbox.add(entry(by, "group.rename", group_id))
            return await self._get(tx, by.tenant_id, group_id)

    async def delete(self, by: Caller, group_id: UUID) -> None:
        """With what it gave its members. Raises GroupNotFound, and as `require_still`."""
        async with self._uow(by.tenant_id) as tx:
            is_there = await tx.groups.lock(by.tenant_id, group_id)
            members = await tx.groups.list_members_after(by.tenant_id, group_id, None, None)
            await require_still(tx, by, "groups.manage", *(member.user_id for member in members))
            if not is_there:
                raise GroupNotFound
            # by id, as every deletion goes: two of them never wait for each other
            for member in members:
                await outdate(tx, self._revisions, by.tenant_id, member.user_id)
            await tx.groups.delete(by.tenant_id, group_id)
            await tx.requests.forget_about(by.tenant_id, group_id)
            tx.outbox.add(entry(by, "group.delete", group_id))
        logger.info("group.deleted", tenant_id=by.tenant_id, group_id=str(group_id), members=len(members))

    async def list_members(
        self, tenant_id: TenantId, group_id: UUID, after: UserId | None, limit: int
    ) -> list[Membership]:
        """The next members by id. Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            await self._get(tx, tenant_id, group_id)
            return await tx.groups.list_members_after(tenant_id, group_id, after, limit)

    async def add_member(self, by: Caller, group_id: UUID, user_id: UserId) -> None:
        """Whoever is in it stays in it. Raises GroupNotFound, UserNotFound, TooManyGroups, and as `require_still`."""
        await self._regroup(by, user_id, joining=[(group_id, user_id)])

    async def remove_member(self, by: Caller, group_id: UUID, user_id: UserId) -> None:
        """Whoever is not in it stays out of it. Raises GroupNotFound, and as `require_still`."""
        await self._regroup(by, user_id, leaving=[(group_id, user_id)])

    async def _regroup(
        self, by: Caller, user_id: UserId, *, joining: Sequence[Place] = (), leaving: Sequence[Place] = ()
    ) -> None:
        async with self._uow(by.tenant_id) as tx:
            for group_id, _ in (*joining, *leaving):
                await tx.groups.lock(by.tenant_id, group_id)  # before who asks: see transaction.py
            await require_still(tx, by, "groups.manage", user_id)
            if not await regroup(tx, self._revisions, self._clock.now(), by, joining=joining, leaving=leaving):
                excuse_act()

    async def _get(self, tx: Tx, tenant_id: TenantId, group_id: UUID) -> Group:
        found = await tx.groups.find(tenant_id, group_id)
        if found is None:
            raise GroupNotFound
        return found


async def regroup(
    tx: Tx,
    revisions: Revisions,
    moment: datetime,
    by: Caller,
    *,
    joining: Iterable[Place] = (),
    leaving: Iterable[Place] = (),
    how: str = "",
) -> list[Place]:
    """Put users into groups and take them out, by whomever; what of it was not so before, each told in the log.

    All are held, in the order of `transaction.py`. Raises GroupNotFound, UserNotFound for somebody who is to come,
    TooManyGroups, NotAllowed.
    """
    tenant_id, coming, going = by.tenant_id, sorted(joining), sorted(leaving)
    for group_id in sorted({group_id for group_id, _ in (*coming, *going)}):
        if not await tx.groups.lock(tenant_id, group_id):
            raise GroupNotFound
    for user_id in sorted({user_id for _, user_id in (*coming, *going)}):
        if not await tx.users.lock(tenant_id, user_id) and user_id in {user_id for _, user_id in coming}:
            raise UserNotFound(f"There is no user {user_id}.")
    await require_no_way_back(tx, by, "groups.manage", *(user_id for _, user_id in coming))
    went = [place for place in going if await tx.groups.remove_member(tenant_id, *place)]
    came = [place for place in coming if await tx.groups.add_member(tenant_id, *place, moment)]
    for user_id in sorted({user_id for _, user_id in (*went, *came)}):
        if len(await tx.groups.list_of(tenant_id, user_id)) > MOST_GROUPS:
            raise TooManyGroups
        await outdate(tx, revisions, tenant_id, user_id)
    for name, places in (("group.add_member", came), ("group.remove_member", went)):
        for group_id, user_id in places:
            tx.outbox.add(entry(by, name, group_id, detail=f"user {user_id}{how}"))
    if came or went:
        logger.info("group.members_changed", tenant_id=tenant_id, came=len(came), went=len(went))
    return came + went
