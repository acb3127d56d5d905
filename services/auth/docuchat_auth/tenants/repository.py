"""Tenants in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.tenants.domain import Retention, SignUp, SignUpMode, Slug, Tenant
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

    async def lock(self, tenant_id: TenantId) -> None:
        """System transactions only: hold off other changes of a tenant."""
        await _queries.lock_tenant(self._connection, tenant_id=tenant_id)

    async def change(self, tenant: Tenant) -> Tenant | None:
        """System transactions only: the tenant with this name and these rules."""
        planned = tenant.next_retention or Retention()
        row = await _queries.change_tenant(
            self._connection,
            tenant_id=tenant.id,
            name=tenant.name,
            signup=tenant.signup.mode.value,
            domains=sorted(tenant.signup.domains),
            chats_days=tenant.retention.chats_days,
            documents_days=tenant.retention.documents_days,
            next_chats_days=planned.chats_days,
            next_documents_days=planned.documents_days,
            retention_changes_at=tenant.retention_changes_at,
            require_second_factor=tenant.require_second_factor,
        )
        return None if row is None else _tenant(row)

    async def next_settings_version(self, tenant_id: TenantId) -> int:
        """System transactions only: the version of what other services are told."""
        version: int = await _queries.next_settings_version(self._connection, tenant_id=tenant_id)
        return version

    async def set_suspended(self, tenant_id: TenantId, *, is_suspended: bool) -> Tenant | None:
        """System transactions only: suspend a tenant, or end that."""
        row = await _queries.set_suspended(self._connection, tenant_id=tenant_id, is_suspended=is_suspended)
        return None if row is None else _tenant(row)

    async def set_deletion(self, tenant_id: TenantId, deletes_at: datetime | None) -> Tenant | None:
        """System transactions only: say when a tenant is to be deleted, or that it is not."""
        row = await _queries.set_deletion(self._connection, tenant_id=tenant_id, deletes_at=deletes_at)
        return None if row is None else _tenant(row)

    async def list_due(self, moment: datetime) -> list[TenantId]:
        """System transactions only: tenants whose day has come and whose erasure has not begun."""
        return [TenantId(row["id"]) async for row in _queries.list_due(self._connection, moment=moment)]

    async def list_retention_due(self, moment: datetime) -> list[TenantId]:
        """System transactions only: tenants whose shorter retention is to begin."""
        return [TenantId(row["id"]) async for row in _queries.list_retention_due(self._connection, moment=moment)]

    async def drop(self, tenant_id: TenantId) -> int:
        """System transactions only: take away a tenant that is being erased and has nothing else; how many it was."""
        dropped: int = await _queries.drop_tenant(self._connection, tenant_id=tenant_id)
        return dropped


def _tenant(row: asyncpg.Record) -> Tenant:
    changes_at = row["retention_changes_at"]
    return Tenant(
        id=TenantId(row["id"]),
        customer_id=row["customer_id"],
        slug=Slug(row["slug"]),
        name=row["name"],
        signup=SignUp(SignUpMode(row["signup"]), frozenset(row["signup_domains"])),
        suspended_at=row["suspended_at"],
        deletes_at=row["deletes_at"],
        retention=Retention(row["chats_days"], row["documents_days"]),
        next_retention=changes_at and Retention(row["next_chats_days"], row["next_documents_days"]),
        retention_changes_at=changes_at,
        require_second_factor=row["require_second_factor"],
        created_at=row["created_at"],
    )
