"""Whom somebody at an identity provider is in the tenant, and what they may there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from docuchat_auth.domains.service import unproven
from docuchat_auth.federated_logins.domain import Person
from docuchat_auth.federated_logins.errors import NotAdmitted
from docuchat_auth.groups.service import regroup
from docuchat_auth.identity_providers.domain import IdentityProvider, domain_of
from docuchat_auth.members.service import set_rights
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_common.acts import part_act
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.http.caller import Caller

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx

logger = structlog.get_logger()


class Admission:
    """Finds, links or makes the user, and gives what the provider's groups are mapped to."""

    def __init__(self, sessions: Sessions, revisions: Revisions, clock: Clock) -> None:
        self._sessions = sessions
        self._revisions = revisions
        self._clock = clock

    async def admit(self, tx: Tx, tenant: Tenant, provider: IdentityProvider, person: Person) -> tuple[User, str]:
        """The user as the next token tells, and what happened, in words. Raises NotAdmitted, TooManyGroups."""
        user, how = await self._find_or_make(tx, tenant, provider, person)
        if not user.is_active:
            raise NotAdmitted("Your account is closed; ask an admin.")
        if user.role is Role.OWNER and not provider.links_owners:  # also who was linked before being one
            raise NotAdmitted("An owner signs in by other means, until an owner lets the identity provider do it.")
        changes = [] if person.values is None else await self._align(tx, provider, user, person.values)
        if changes:
            user = await tx.users.find_by_id(tenant.id, user.id) or user
        return user, ", ".join([f"by identity provider {provider.id}", *how, *changes])

    async def _find_or_make(
        self, tx: Tx, tenant: Tenant, provider: IdentityProvider, person: Person
    ) -> tuple[User, list[str]]:
        if (known := await self._linked(tx, provider, person)) is not None:
            return known, []
        await tx.users.lock_all(tenant.id)
        if (known := await self._linked(tx, provider, person)) is not None:  # by another request meanwhile
            return known, []
        if (email := person.email) is None:
            raise NotAdmitted("The identity provider does not say your address of mail; tell the tenant's admin.")
        # the provider's word and the tenant's proof, both: an address is neither's to give away alone
        is_own = person.email_is_verified and not await unproven(tx, tenant, [domain_of(email)])
        existing = await tx.users.find_by_email(tenant.id, email)
        if existing is not None:
            if not is_own:
                raise NotAdmitted(
                    "There is an account with your address, and the identity provider has not confirmed it or its "
                    "domain is not proven; sign in by other means."
                )
            user, how = existing, ["linked"]
        else:
            user, how = await self._register(tx, tenant, provider, person, email, is_own=is_own), ["joined"]
        if not await tx.federated_identities.link(tenant.id, provider.id, person.subject, user.id, self._clock.now()):
            raise NotAdmitted("Your account belongs to somebody else at the identity provider; ask an admin.")
        return user, how

    @staticmethod
    async def _linked(tx: Tx, provider: IdentityProvider, person: Person) -> User | None:
        found = await tx.federated_identities.find_user(provider.tenant_id, provider.id, person.subject)
        return None if found is None else await tx.users.find_by_id(provider.tenant_id, found)

    async def _register(
        self, tx: Tx, tenant: Tenant, provider: IdentityProvider, person: Person, email: Email, *, is_own: bool
    ) -> User:
        if tenant.state != "active" or not provider.join.admits(email, is_verified=person.email_is_verified):
            raise NotAdmitted
        newcomer = Newcomer(email=email if is_own else None, claimed_email=None if is_own else email, name=person.name)
        role = provider.join.role
        user = await tx.users.register(tenant.id, newcomer, self._clock.now(), may_own=False, role=role)
        if user is None:
            raise NotAdmitted
        tx.outbox.add(UserRegistered(tenant_id=tenant.id, user_id=user.id, role=user.role.value))
        logger.info("user.registered", tenant_id=tenant.id, user_id=str(user.id), role=role.value, by="provider")
        return user

    async def _align(self, tx: Tx, provider: IdentityProvider, user: User, values: frozenset[str]) -> list[str]:
        """Give and take what is mapped, and nothing else; returns what changed."""
        role = provider.role_for(values)
        if role is not None and role is not user.role and user.role is not Role.OWNER:
            await tx.users.lock_all(user.tenant_id)  # before groups and the user: see transaction.py
            user = await tx.users.find_by_id(user.tenant_id, user.id) or user
        changes = await self._align_groups(tx, provider, user, values)
        if role is None or role is user.role or user.role is Role.OWNER:
            return changes
        said = await set_rights(tx, self._sessions, self._revisions, user, role, is_active=user.is_active)
        return [*changes, f"{user.role.value} to {role.value}{said}"]

    async def _align_groups(self, tx: Tx, provider: IdentityProvider, user: User, values: frozenset[str]) -> list[str]:
        tenant_id, wanted = user.tenant_id, provider.groups_for(values)
        current = frozenset(await tx.groups.list_of(tenant_id, user.id))
        joining, leaving = wanted - current, (provider.mapped_groups - wanted) & current
        if not joining and not leaving:
            return []
        there = {group_id for group_id in sorted(joining | leaving) if await tx.groups.lock(tenant_id, group_id)}
        for name in ("group.add_member", "group.remove_member"):
            part_act(name)
        moved = await regroup(
            tx,
            self._revisions,
            self._clock.now(),
            Caller(tenant_id, "user", user.id, role=user.role.value),
            joining=[(group_id, user.id) for group_id in joining & there],
            leaving=[(group_id, user.id) for group_id in leaving & there],
            how=f", by identity provider {provider.id}",
        )
        return [f"groups +{len(joining & there)} -{len(leaving & there)}"] if moved else []
