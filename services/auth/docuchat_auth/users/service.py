"""What users may know of themselves, and others of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docuchat_auth.revisions.service import Revisions
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.domain import User, UserFilter
from docuchat_auth.users.errors import UserGone, UserNotFound
from docuchat_common.audit import entry
from docuchat_common.contracts.permissions import PERMISSIONS, Action, Role
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.identity import InvalidApiKey
from docuchat_common.ids import TenantId, UserId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork


class Profiles:
    """An account, for who has it."""

    def __init__(self, uow: UnitOfWork[Tx]) -> None:
        self._uow = uow

    async def get_own(self, tenant_id: TenantId, user_id: UserId | None) -> tuple[User, Tenant]:
        """The signed-in user and the tenant. Raises UserGone, also for a caller that is no user."""
        if user_id is None:
            raise UserGone
        async with self._uow(tenant_id) as tx:
            user = await tx.users.find_by_id(tenant_id, user_id)
            tenant = await tx.tenants.find_by_id(tenant_id)
        if user is None or tenant is None or not user.is_active:
            raise UserGone
        return user, tenant

    async def rename(self, tenant_id: TenantId, user_id: UserId | None, name: str) -> tuple[User, Tenant]:
        """The signed-in user under another name. Raises UserGone."""
        user, _ = await self.get_own(tenant_id, user_id)
        async with self._uow(tenant_id) as tx:
            await tx.users.rename(tenant_id, user.id, name)
            tx.outbox.add(entry(None, "user.rename", user.id, tenant_id=tenant_id))
        return await self.get_own(tenant_id, user_id)


class UserDirectory:
    """A tenant's users, for who may read of them."""

    def __init__(self, uow: UnitOfWork[Tx]) -> None:
        self._uow = uow

    async def list_after(self, tenant_id: TenantId, after: UserId | None, wanted: UserFilter, limit: int) -> list[User]:
        """The next of the wanted users by id."""
        async with self._uow(tenant_id) as tx:
            return await tx.users.list_after(tenant_id, after, wanted, limit)

    async def require(self, tenant_id: TenantId, user_id: UserId) -> None:
        """Raise UserNotFound when the tenant has no such user."""
        async with self._uow(tenant_id) as tx:
            if await tx.users.find_by_id(tenant_id, user_id) is None:
                raise UserNotFound


async def hold_own(tx: Tx, caller: Caller) -> User:
    """As `find_own`; changes of what the user has take turns until the transaction ends."""
    if caller.user_id is not None:
        await tx.users.lock(caller.tenant_id, caller.user_id)
    return await find_own(tx, caller)


async def find_own(tx: Tx, caller: Caller) -> User:
    """The user who asks. Raises UserGone, also for who is no user."""
    user = None if caller.user_id is None else await tx.users.find_by_id(caller.tenant_id, caller.user_id)
    if user is None or not user.is_active:
        raise UserGone
    return user


async def outdate(tx: Tx, revisions: Revisions, tenant_id: TenantId, user_id: UserId) -> None:
    """End what the user's access tokens say; the next refresh brings one that says what is true after `tx`."""
    version = await tx.users.outdate(tenant_id, user_id)
    if version is not None:
        await revisions.record(tx, "user", tenant_id, user_id, state="changed", version=version)


async def require_still(tx: Tx, by: Caller, action: Action, *about: UserId) -> None:
    """Raise NotAllowed, UserGone or InvalidApiKey when who asks may do so no more, whatever the token says.

    For what outlives the token that made it. Who asks is held until `tx` ends, so that no demotion comes between, and
    whom it is `about` with them, in the order of `transaction.py`. A key holds for whose it is.
    """
    if by.service_key_id is not None:
        await tx.api_keys.lock(by.service_key_id)
        if await tx.api_keys.find(by.tenant_id, by.service_key_id) is None:
            raise InvalidApiKey
    person = by.user_id or by.owner_id
    if person is None:
        return  # a key of the tenant with a role of its own, or an operator
    for user_id in sorted({UserId(person), *about}):
        await tx.users.lock(by.tenant_id, user_id)
    present = await tx.users.find_by_id(by.tenant_id, UserId(person))
    if present is None or not present.is_active:
        raise UserGone
    if action not in PERMISSIONS[present.role]:
        raise NotAllowed


def require_person(by: Caller, *roles: Role | None) -> None:
    """Raise NotAllowed for a key, a person's or the tenant's, where one of the roles is an admin's or an owner's.

    A key outlives the rights of who was shown it, or is found by somebody: who runs the tenant is for people to say.
    """
    if by.subject_type == "key" and {Role.ADMIN, Role.OWNER}.intersection(roles):
        raise NotAllowed("A key makes no admins or owners, and changes and removes none; sign in as a user.")


async def require_no_way_back(tx: Tx, by: Caller, action: Action, *given_to: UserId) -> None:
    """Raise NotAllowed when a key of the tenant is to give somebody something who was shown the key.

    Unless they may do it themselves. The key goes on when they are demoted or closed, and is not their way back.
    """
    shown_to = set() if by.service_key_id is None else await tx.api_keys.list_shown_to(by.tenant_id, by.service_key_id)
    for user_id in shown_to.intersection(given_to):
        person = await tx.users.find_by_id(by.tenant_id, UserId(user_id))
        if person is None or not person.is_active or action not in PERMISSIONS[person.role]:
            raise NotAllowed("This user was shown the secret of this key and may do this no more: rotate the key.")
