"""Groups of people: whom a restricted collection can be shown to. A change reaches open tokens within seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.groups.domain import MOST_GROUPS, Group, Membership
from docuchat_auth.groups.errors import GroupNotFound, TooManyGroups
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import outdate
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, UserId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


async def groups_of(tx: Tx, user: User) -> list[UUID]:
    """What a token of the user names."""
    return await tx.groups.list_of(user.tenant_id, user.id)


class Groups:
    """Makes groups and says who is in them. Whoever comes or goes gets a new version, so that older tokens end."""

    def __init__(self, uow: UnitOfWork[Tx], revisions: Revisions, clock: Clock) -> None:
        self._uow = uow
        self._revisions = revisions
        self._clock = clock

    async def create(self, tenant_id: TenantId, name: str, settle: Settle[Group] = without_key) -> Group:
        """Raises GroupNameTaken."""
        group = Group(tenant_id, uuid7(), name, 0, self._clock.now())
        async with self._uow(tenant_id) as tx:
            await tx.groups.add(tenant_id, group.id, name, group.created_at)
            tx.outbox.add(entry(None, "group.create", group.id, tenant_id=tenant_id))
            await settle(tx, group)
        logger.info("group.created", tenant_id=tenant_id, group_id=str(group.id))
        return group

    async def get(self, tenant_id: TenantId, group_id: UUID) -> Group:
        """Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            return await self._get(tx, tenant_id, group_id)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[Group]:
        """The next groups by id."""
        async with self._uow(tenant_id) as tx:
            return await tx.groups.list_after(tenant_id, after, limit)

    async def rename(self, tenant_id: TenantId, group_id: UUID, name: str) -> Group:
        """Raises GroupNotFound, GroupNameTaken."""
        async with self._uow(tenant_id) as tx:
            await tx.groups.rename(tenant_id, group_id, name)
            tx.outbox.add(entry(None, "group.rename", group_id, tenant_id=tenant_id))
            return await self._get(tx, tenant_id, group_id)

    async def delete(self, tenant_id: TenantId, group_id: UUID) -> None:
        """With what it gave its members. Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            if not await tx.groups.lock(tenant_id, group_id):
                raise GroupNotFound
            members = await tx.groups.list_members_after(tenant_id, group_id, None, None)
            # by id, as every deletion goes: two of them never wait for each other
            for member in members:
                await outdate(tx, self._revisions, tenant_id, member.user_id)
            await tx.groups.delete(tenant_id, group_id)
            await tx.requests.forget_about(tenant_id, group_id)
            tx.outbox.add(entry(None, "group.delete", group_id, tenant_id=tenant_id))
        logger.info("group.deleted", tenant_id=tenant_id, group_id=str(group_id), members=len(members))

    async def list_members(
        self, tenant_id: TenantId, group_id: UUID, after: UserId | None, limit: int
    ) -> list[Membership]:
        """The next members by id. Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            await self._get(tx, tenant_id, group_id)
            return await tx.groups.list_members_after(tenant_id, group_id, after, limit)

    async def add_member(self, tenant_id: TenantId, group_id: UUID, user_id: UserId) -> None:
        """Whoever is in it stays in it. Raises GroupNotFound, UserNotFound, TooManyGroups."""
        async with self._uow(tenant_id) as tx:
            if not await tx.groups.lock(tenant_id, group_id):
                raise GroupNotFound
            if not await tx.users.lock(tenant_id, user_id):
                raise UserNotFound
            if not await tx.groups.add_member(tenant_id, group_id, user_id, self._clock.now()):
                excuse_act()
                return
            if len(await tx.groups.list_of(tenant_id, user_id)) > MOST_GROUPS:
                raise TooManyGroups
            await outdate(tx, self._revisions, tenant_id, user_id)
            tx.outbox.add(entry(None, "group.add_member", group_id, tenant_id=tenant_id, detail=f"user {user_id}"))
        logger.info("group.member_added", tenant_id=tenant_id, group_id=str(group_id), user_id=str(user_id))

    async def remove_member(self, tenant_id: TenantId, group_id: UUID, user_id: UserId) -> None:
        """Whoever is not in it stays out of it. Raises GroupNotFound."""
        async with self._uow(tenant_id) as tx:
            if not await tx.groups.lock(tenant_id, group_id):
                raise GroupNotFound
            await tx.users.lock(tenant_id, user_id)  # before the membership, as a removal of the user does it
            if not await tx.groups.remove_member(tenant_id, group_id, user_id):
                excuse_act()
                return
            await outdate(tx, self._revisions, tenant_id, user_id)
            tx.outbox.add(entry(None, "group.remove_member", group_id, tenant_id=tenant_id, detail=f"user {user_id}"))
        logger.info("group.member_removed", tenant_id=tenant_id, group_id=str(group_id), user_id=str(user_id))

    async def _get(self, tx: Tx, tenant_id: TenantId, group_id: UUID) -> Group:
        found = await tx.groups.find(tenant_id, group_id)
        if found is None:
            raise GroupNotFound
        return found
