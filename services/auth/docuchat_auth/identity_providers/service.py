"""Manage a tenant's identity providers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from yarl import URL

from docuchat_auth.groups.errors import GroupNotFound
from docuchat_auth.identity_providers.domain import MOST_PROVIDERS, IdentityProvider
from docuchat_auth.identity_providers.errors import IdentityProviderNotFound, TooManyIdentityProviders
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import owns
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.service import require_still
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.egress import EgressPolicy, UrlRefused
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class IdentityProviders:
    """Who may manage them decides who signs in as whom, owners excepted."""

    def __init__(
        self, uow: UnitOfWork[Tx], sessions: Sessions, secrets: SealedSecrets, policy: EgressPolicy, clock: Clock
    ) -> None:
        self._uow = uow
        self._sessions = sessions
        self._secrets = secrets
        self._policy = policy
        self._clock = clock

    async def create(
        self,
        caller: Caller,
        fields: dict[str, Any],
        secret: str | None,
        settle: Settle[IdentityProvider] = without_key,
    ) -> IdentityProvider:
        """Raises RecentSignInRequired, UrlRefused, OwnersOnly, GroupNotFound, IdentityProviderNameTaken,
        TooManyIdentityProviders.
        """
        require_recent(caller, self._clock.now())
        try:
            self._policy.assert_allowed(URL(fields["issuer"]))
        except ValueError as error:  # of a port that is no number
            raise UrlRefused from error
        provider_id = uuid7()
        provider = IdentityProvider(
            tenant_id=caller.tenant_id,
            id=provider_id,
            sealed_secret=self._sealed(secret, caller.tenant_id, provider_id),
            created_at=self._clock.now(),
            **fields,
        )
        async with self._uow(caller.tenant_id) as tx:
            await tx.users.lock_all(caller.tenant_id)  # they are counted one after another
            await require_still(tx, caller, "identity.manage")
            await _judge(tx, caller, provider, may_link_owners=False)
            if await tx.identity_providers.count(caller.tenant_id) >= MOST_PROVIDERS:
                raise TooManyIdentityProviders
            await tx.identity_providers.add(provider)
            tx.outbox.add(entry(caller, "identity_provider.create", provider.id))
            await settle(tx, provider)
        logger.info("identity_provider.created", tenant_id=caller.tenant_id, provider_id=str(provider.id))
        return provider

    async def get(self, tenant_id: TenantId, provider_id: UUID) -> IdentityProvider:
        """Raises IdentityProviderNotFound."""
        async with self._uow(tenant_id) as tx:
            return await _get(tx, tenant_id, provider_id)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[IdentityProvider]:
        """The next providers by id."""
        async with self._uow(tenant_id) as tx:
            return await tx.identity_providers.list_after(tenant_id, after, limit)

    async def change(
        self, caller: Caller, provider_id: UUID, fields: dict[str, Any], secret: str | None
    ) -> IdentityProvider:
        """Raises RecentSignInRequired, IdentityProviderNotFound, OwnersOnly, GroupNotFound,
        IdentityProviderNameTaken.
        """
        require_recent(caller, self._clock.now())
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "identity.manage")
            await tx.identity_providers.lock(caller.tenant_id, provider_id)
            before = await _get(tx, caller.tenant_id, provider_id)
            sealed = before.sealed_secret
            if secret is not None:
                sealed = self._sealed(secret, caller.tenant_id, provider_id)
            after = replace(before, sealed_secret=sealed, **fields)
            await _judge(tx, caller, after, may_link_owners=before.links_owners)
            await tx.identity_providers.change(after)
            if before.links_owners and not after.links_owners:
                await self._end_owners(tx, caller, provider_id)
            named = sorted(fields) + ([] if secret is None else ["secret"])
            tx.outbox.add(entry(caller, "identity_provider.change", provider_id, detail=", ".join(named)))
        logger.info("identity_provider.changed", tenant_id=caller.tenant_id, provider_id=str(provider_id))
        return after

    async def delete(self, caller: Caller, provider_id: UUID) -> None:
        """Nobody signs in by it from then on; the accounts stay. Raises IdentityProviderNotFound."""
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "identity.manage")
            if not await tx.identity_providers.delete(caller.tenant_id, provider_id):
                raise IdentityProviderNotFound
            await tx.requests.forget_about(caller.tenant_id, provider_id)
            tx.outbox.add(entry(caller, "identity_provider.delete", provider_id))
        logger.info("identity_provider.deleted", tenant_id=caller.tenant_id, provider_id=str(provider_id))

    async def _end_owners(self, tx: Tx, caller: Caller, provider_id: UUID) -> None:
        """End what owners began who may come by the provider no more."""
        for user_id in await tx.federated_identities.list_users(caller.tenant_id, provider_id):
            user = await tx.users.find_by_id(caller.tenant_id, user_id)
            if user is not None and user.role is Role.OWNER:
                await self._sessions.end_all(tx, user, keep=caller.session_id if user.id == caller.user_id else None)

    def _sealed(self, secret: str | None, tenant_id: TenantId, provider_id: UUID) -> bytes | None:
        return None if secret is None else self._secrets.close(secret, tenant_id, provider_id)


async def _judge(tx: Tx, caller: Caller, provider: IdentityProvider, *, may_link_owners: bool) -> None:
    if provider.links_owners and not may_link_owners and not await owns(tx, caller):
        raise OwnersOnly("Only an owner may let an identity provider link owners' accounts.")
    for group_id in provider.mapped_groups:
        if await tx.groups.find(provider.tenant_id, group_id) is None:
            raise GroupNotFound


async def _get(tx: Tx, tenant_id: TenantId, provider_id: UUID) -> IdentityProvider:
    found = await tx.identity_providers.find(tenant_id, provider_id)
    if found is None:
        raise IdentityProviderNotFound
    return found
