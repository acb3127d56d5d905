"""Domains in Postgres: rows in, domain objects out."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.domains.domain import OwnedDomain
from docuchat_auth.domains.errors import DomainTaken
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.domains")


class DomainRepository:
    """The domains of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, domain: OwnedDomain) -> bool:
        """False when the tenant has it already."""
        return bool(
            await _queries.add_domain(
                self._connection,
                tenant_id=domain.tenant_id,
                domain_id=domain.id,
                domain=domain.domain,
                token=domain.token,
                moment=domain.created_at,
            )
        )

    async def count(self, tenant_id: TenantId) -> int:
        found: int = await _queries.count_domains(self._connection, tenant_id=tenant_id)
        return found

    async def find(self, tenant_id: TenantId, domain_id: UUID) -> OwnedDomain | None:
        row = await _queries.find_domain(self._connection, tenant_id=tenant_id, domain_id=domain_id)
        return None if row is None else _domain(row)

    async def find_by_name(self, tenant_id: TenantId, domain: str) -> OwnedDomain | None:
        row = await _queries.find_domain_by_name(self._connection, tenant_id=tenant_id, domain=domain)
        return None if row is None else _domain(row)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[OwnedDomain]:
        rows = _queries.list_domains_after(self._connection, tenant_id=tenant_id, after=after, max_rows=limit)
        return [_domain(row) async for row in rows]

    async def list_proven(self, tenant_id: TenantId, domains: Iterable[str]) -> frozenset[str]:
        """Which of `domains` the tenant has proven."""
        rows = _queries.list_proven(self._connection, tenant_id=tenant_id, domains=list(domains))
        return frozenset([row["domain"] async for row in rows])

    async def verify(self, tenant_id: TenantId, domain_id: UUID, moment: datetime) -> bool:
        """False when it was proven before, or is not there. Raises DomainTaken."""
        try:
            return bool(
                await _queries.verify_domain(self._connection, tenant_id=tenant_id, domain_id=domain_id, moment=moment)
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name != "domains_proven_once":
                raise
            raise DomainTaken from error

    async def delete(self, tenant_id: TenantId, domain_id: UUID) -> bool:
        return bool(await _queries.delete_domain(self._connection, tenant_id=tenant_id, domain_id=domain_id))


def _domain(row: asyncpg.Record) -> OwnedDomain:
    return OwnedDomain(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        domain=row["domain"],
        token=row["token"],
        created_at=row["created_at"],
        verified_at=row["verified_at"],
    )
