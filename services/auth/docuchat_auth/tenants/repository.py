"""Tenants in Postgres: rows in, domain objects out."""

from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.tenants.domain import SignUp, SignUpMode, Slug, Tenant
from docuchat_auth.tenants.errors import TenantTaken
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.tenants")


class TenantRepository:
    """The tenants that this transaction may see."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_by_id(self, tenant_id: TenantId) -> Tenant | None:
        row = await _queries.find_tenant_by_id(self._connection, tenant_id=tenant_id)
        return None if row is None else _tenant(row)

    async def find_by_slug(self, slug: Slug) -> Tenant | None:
        row = await _queries.find_tenant_by_slug(self._connection, slug=slug)
        return None if row is None else _tenant(row)

    async def find_by_customer_id(self, customer_id: UUID) -> Tenant | None:
        row = await _queries.find_tenant_by_customer_id(self._connection, customer_id=customer_id)
        return None if row is None else _tenant(row)

    async def find_only(self) -> Tenant | None:
        """System transactions only: the one tenant of an installation that has no other."""
        row = await _queries.find_only_tenant(self._connection)
        return None if row is None else _tenant(row)

    async def list_after(self, tenant_id: int, limit: int) -> list[Tenant]:
        """System transactions only: the tenants with the next greater ids."""
        rows = _queries.list_tenants_after(self._connection, tenant_id=tenant_id, max_rows=limit)
        return [_tenant(row) async for row in rows]

    async def add(self, slug: Slug, name: str, *, signup: SignUp, tenant_id: TenantId | None) -> Tenant:
        """Create a tenant, with the next free id when none is given. Raises TenantTaken."""
        values = {"slug": slug, "name": name, "signup": signup.mode.value, "domains": sorted(signup.domains)}
        if tenant_id is None:
            row = await _queries.add_tenant(self._connection, **values)
        else:
            row = await _queries.add_tenant_with_id(self._connection, tenant_id=tenant_id, **values)
        if row is None:
            raise TenantTaken
        return _tenant(row)

    async def set_signup(self, tenant_id: TenantId, signup: SignUp) -> Tenant | None:
        """System transactions only: say who may join a tenant without being invited."""
        row = await _queries.set_signup(
            self._connection, tenant_id=tenant_id, signup=signup.mode.value, domains=sorted(signup.domains)
        )
        return None if row is None else _tenant(row)

    async def set_suspended(self, tenant_id: TenantId, *, is_suspended: bool) -> Tenant | None:
        """System transactions only: suspend a tenant, or end that."""
        row = await _queries.set_suspended(self._connection, tenant_id=tenant_id, is_suspended=is_suspended)
        return None if row is None else _tenant(row)


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(
        id=TenantId(row["id"]),
        customer_id=row["customer_id"],
        slug=Slug(row["slug"]),
        name=row["name"],
        signup=SignUp(SignUpMode(row["signup"]), frozenset(row["signup_domains"])),
        suspended_at=row["suspended_at"],
        created_at=row["created_at"],
    )
