"""Change, deactivate and remove people of a tenant. What they had open ends within seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import structlog

from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import outdate, require_no_way_back, require_person, require_still
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.contracts.permissions import PERMISSIONS, Role
from docuchat_common.events.catalogue import UserRemoved
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, UserId
from docuchat_common.removals import RemovedUser

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_NOBODY = MemberChange(is_active=False)
_SWEEP_BATCH: Final = 500

ForgetGuesses = Callable[[User], Awaitable[int]]
"""Forgets what a way to sign in has counted against a user; how many keys it was."""

NoteErasure = Callable[["Tx", User, RemovedUser, int], Awaitable[None]]
"""Notes who is erased, and with how many keys of Redis, in the transaction that removes the user."""


class Members:
    """Manages a tenant's people. `by` is who asks; an operator may do all that leaves an owner."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        sessions: Sessions,
        revisions: Revisions,
        forget_guesses: Sequence[ForgetGuesses] = (),
    ) -> None:
        self._uow = uow
        self._sessions = sessions
        self._revisions = revisions
        self._forget_guesses = forget_guesses

    async def change(self, tenant_id: TenantId, user_id: UserId, change: MemberChange, by: Caller) -> User:
        """The user after the change. Raises UserNotFound, OwnersOnly, LastOwner, and as `require_still`."""
        async with self._uow(tenant_id) as tx:
            user = await self._judge(tx, tenant_id, user_id, change, by)
            role = change.role or user.role
            is_active = user.is_active if change.is_active is None else change.is_active
            if (role, is_active) == (user.role, user.is_active):
                excuse_act()
                return user
            detail = f"{user.role.value} to {role.value}, {'active' if is_active else 'deactivated'}"
            detail += await set_rights(tx, self._sessions, self._revisions, user, role, is_active=is_active)
            tx.outbox.add(entry(by, "user.change", user_id, tenant_id=tenant_id, detail=detail))
            changed = await tx.users.find_by_id(tenant_id, user_id)
        logger.info("user.changed", tenant_id=tenant_id, user_id=str(user_id), role=role.value, is_active=is_active)
        return changed or user

    async def remove(
        self,
        tenant_id: TenantId,
        user_id: UserId,
        by: Caller,
        *,
        hand_over_to: UserId | None,
        erase: NoteErasure | None = None,
    ) -> None:
        """Delete a user. What the user owns is handed over or deleted by those who keep it, who hear of it.

        With `erase` they say how much that was. Raises UserNotFound, OwnersOnly, LastOwner, InvalidHandOver, and as
        `require_still`.
        """
        async with self._uow(tenant_id) as tx:
            user = await self._judge_removal(tx, tenant_id, user_id, by, hand_over_to)
        keys = await self._forget(user)
        async with self._uow(tenant_id) as tx:
            user = await self._judge_removal(tx, tenant_id, user_id, by, hand_over_to)
            handed = None if hand_over_to is None else f"handed over to {hand_over_to}"
            await self._delete(tx, user, by, detail=handed, hand_over_to=hand_over_to, erase=erase, keys_gone=keys)
        logger.info("user.removed", tenant_id=tenant_id, user_id=str(user_id))

    async def forget_unproven(self, before: datetime) -> int:
        """Remove who registered with an address, never proved it and was not here since; returns how many."""
        removed = 0
        async with self._uow.system() as tx:
            found = await tx.users.list_unproven(before, _SWEEP_BATCH)
        for tenant_id, user_id in found:
            async with self._uow(tenant_id) as tx:
                await tx.users.lock_all(tenant_id)
                user = await tx.users.find_by_id(tenant_id, user_id)
                # proven, back or gone since they were found
                if user is None or user.email is not None or (user.last_login_at or user.created_at) >= before:
                    continue
                await self._delete(tx, user, None, detail="the address was never proven")
            await self._forget(user)
            removed += 1
        if removed:
            logger.info("users.unproven_removed", removed=removed)
        return removed

    async def _forget(self, user: User) -> int:
        """Forget what was counted under the user's address, which nobody knows once the user is gone."""
        return sum([await forget(user) for forget in self._forget_guesses])

    async def _delete(
        self,
        tx: Tx,
        user: User,
        by: Caller | None,
        *,
        detail: str | None,
        hand_over_to: UserId | None = None,
        erase: NoteErasure | None = None,
        keys_gone: int = 0,
    ) -> None:
        keys = tuple(await tx.api_keys.list_ids(user.tenant_id, user.id))
        gone = RemovedUser(user.tenant_id, user.id, keys, hand_over_to, is_erasure=erase is not None)
        if erase is not None:
            await erase(tx, user, gone, keys_gone)
        detail = f"{detail or ''}{await _void_offers(tx, user, None)}".removeprefix("; ") or None
        await self._sessions.end_all(tx, user)
        await tx.users.delete(user.tenant_id, user.id)
        await tx.requests.forget_subjects(user.tenant_id, gone.subjects)
        for told_of in (user.id, *keys):
            await tx.requests.forget_about(user.tenant_id, told_of)
        tx.outbox.add(
            UserRemoved(
                tenant_id=user.tenant_id,
                user_id=user.id,
                hand_over_to=hand_over_to,
                key_ids=keys,
                is_erasure=gone.is_erasure,
            )
        )
        act = "user.erase" if gone.is_erasure else "user.remove"
        tx.outbox.add(entry(by, act, user.id, tenant_id=user.tenant_id, detail=detail))

    async def _judge_removal(
        self, tx: Tx, tenant_id: TenantId, user_id: UserId, by: Caller, heir_id: UserId | None
    ) -> User:
        user = await self._judge(tx, tenant_id, user_id, _NOBODY, by)
        if heir_id is not None:
            heir = await tx.users.find_by_id(tenant_id, heir_id)
            if heir is None or not heir.is_active or heir.id == user_id:
                raise InvalidHandOver
            await require_no_way_back(tx, by, "users.manage", heir.id)
        return user

    async def _judge(self, tx: Tx, tenant_id: TenantId, user_id: UserId, change: MemberChange, by: Caller) -> User:
        """The user, whom no other change can meet until the transaction ends."""
        await tx.users.lock_all(tenant_id)
        await require_still(tx, by, "users.manage", user_id)  # or who is demoted undoes it, in the seconds of a token
        user = await tx.users.find_by_id(tenant_id, user_id)
        if user is None:
            raise UserNotFound
        if change.makes_or_breaks_an_owner(user) and by.subject_type != "operator" and not await owns(tx, by):
            raise OwnersOnly
        require_person(by, user.role, change.role)
        if change != _NOBODY:
            await require_no_way_back(tx, by, "users.manage", user_id)
        was_owner = user.is_active and user.role is Role.OWNER
        if was_owner and not change.is_owner_after(user) and await tx.users.count_owners(tenant_id) == 1:
            raise LastOwner
        return user


async def set_rights(
    tx: Tx, sessions: Sessions, revisions: Revisions, user: User, role: Role, *, is_active: bool
) -> str:
    """Change what a user may, by whomever, with all that hangs on it; more for the log's words on it.

    Nobody else changes a role or closes an account: what was opened or offered by the rights before ends here.
    """
    await tx.users.change(user.tenant_id, user.id, role, is_active)
    # whoever manages a provider could be in by it: not as an owner, so not with what was begun before either
    is_risen = role is Role.OWNER and bool(await tx.federated_identities.list_of(user.tenant_id, user.id))
    if is_active and not is_risen:
        await outdate(tx, revisions, user.tenant_id, user.id)
    else:
        await sessions.end_all(tx, user)
    return await _void_offers(tx, user, role if is_active else None)


async def _void_offers(tx: Tx, user: User, role: Role | None) -> str:
    """Take back invitations that the user, now of `role` or of none, may not send any more; what the log says then.

    Keys of the tenant that the user was shown go on, because programs need them: who reads the log rotates them.
    """
    if role is Role.OWNER:
        return ""
    manages = role is not None and "users.manage" in PERMISSIONS[role]
    voided = await tx.invitations.void(user.tenant_id, user.id, all_roles=not manages)
    keys = 0 if manages else await tx.api_keys.count_service_keys(user.tenant_id, user.id)
    said = [f"{voided} invitations void"] if voided else []
    said += [f"{keys} service keys known to this user go on: rotate them"] if keys else []
    return "".join(f"; {one}" for one in said)


async def owns(tx: Tx, by: Caller) -> bool:
    """Whether who asks is an owner now, whatever the token says; a key is not."""
    asking = None if by.user_id is None else await tx.users.find_by_id(by.tenant_id, by.user_id)
    return asking is not None and asking.is_active and asking.role is Role.OWNER
