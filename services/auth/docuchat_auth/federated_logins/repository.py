"""Who is who at identity providers, in Postgres."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.federated_logins.domain import LinkedIdentity
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.federated_logins")


class FederatedIdentityRepository:
    """Accounts at providers and whose they are, of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_user(self, tenant_id: TenantId, provider_id: UUID, subject: str) -> UserId | None:
        found: UserId | None = await _queries.find_linked_user(
            self._connection, tenant_id=tenant_id, provider_id=provider_id, subject=subject
        )
        return found

    async def link(
        self, tenant_id: TenantId, provider_id: UUID, subject: str, user_id: UserId, moment: datetime
    ) -> bool:
        """False when the user is somebody else at the provider."""
        return bool(
            await _queries.link(
                self._connection,
                tenant_id=tenant_id,
                provider_id=provider_id,
                subject=subject,
                user_id=user_id,
                moment=moment,
            )
        )

    async def list_of(self, tenant_id: TenantId, user_id: UserId) -> list[LinkedIdentity]:
        """Who a user is, and where; the oldest first."""
        rows = _queries.list_links(self._connection, tenant_id=tenant_id, user_id=user_id)
        return [LinkedIdentity(row["provider_id"], row["subject"], row["linked_at"]) async for row in rows]

    async def list_users(self, tenant_id: TenantId, provider_id: UUID) -> list[UserId]:
        """The users who are somebody at a provider, by id."""
        rows = _queries.list_linked_users(self._connection, tenant_id=tenant_id, provider_id=provider_id)
        return [UserId(row["user_id"]) async for row in rows]

    async def unlink(self, tenant_id: TenantId, user_id: UserId, provider_id: UUID | None = None) -> int:
        """Forget who a user is at a provider, or at all of them; returns how many there were."""
        rows = _queries.unlink(self._connection, tenant_id=tenant_id, user_id=user_id, provider_id=provider_id)
        return len([row async for row in rows])
