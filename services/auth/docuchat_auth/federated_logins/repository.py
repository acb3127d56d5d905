"""Who is who at identity providers, in Postgres."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

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
