"""Identity providers in Postgres: rows in, domain objects out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from docuchat_auth.identity_providers.domain import GroupMapping, IdentityProvider, JoinRule
from docuchat_auth.identity_providers.errors import IdentityProviderNameTaken
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.identity_providers")


class IdentityProviderRepository:
    """The identity providers of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def count(self, tenant_id: TenantId) -> int:
        found: int = await _queries.count_providers(self._connection, tenant_id=tenant_id)
        return found

    async def add(self, provider: IdentityProvider) -> None:
        """Raises IdentityProviderNameTaken."""
        async with _unique_name():
            await _queries.add_provider(
                self._connection, **_values(provider), issuer=provider.issuer, moment=provider.created_at
            )

    async def change(self, provider: IdentityProvider) -> None:
        """Raises IdentityProviderNameTaken."""
        async with _unique_name():
            await _queries.change_provider(self._connection, **_values(provider))

    async def lock(self, tenant_id: TenantId, provider_id: UUID) -> None:
        await _queries.lock_provider(self._connection, tenant_id=tenant_id, provider_id=provider_id)

    async def find(self, tenant_id: TenantId, provider_id: UUID) -> IdentityProvider | None:
        row = await _queries.find_provider(self._connection, tenant_id=tenant_id, provider_id=provider_id)
        return None if row is None else _provider(row)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[IdentityProvider]:
        rows = _queries.list_providers_after(self._connection, tenant_id=tenant_id, after=after, max_rows=limit)
        return [_provider(row) async for row in rows]

    async def delete(self, tenant_id: TenantId, provider_id: UUID) -> bool:
        return bool(await _queries.delete_provider(self._connection, tenant_id=tenant_id, provider_id=provider_id))


def _values(provider: IdentityProvider) -> dict[str, Any]:
    mappings = [
        {"value": one.value, "group_id": one.group_id, "role": None if one.role is None else one.role.value}
        for one in provider.mappings
    ]
    return {
        "tenant_id": provider.tenant_id,
        "provider_id": provider.id,
        "name": provider.name,
        "client_id": provider.client_id,
        "sealed_secret": provider.sealed_secret,
        "scopes": list(provider.scopes),
        "is_active": provider.is_active,
        "join_enabled": provider.join.is_enabled,
        "join_role": provider.join.role.value,
        "join_domains": sorted(provider.join.domains),
        "groups_claim": provider.groups_claim,
        "mappings": orjson.dumps(mappings).decode(),
        "links_owners": provider.links_owners,
    }


def _provider(row: asyncpg.Record) -> IdentityProvider:
    return IdentityProvider(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        name=row["name"],
        issuer=row["issuer"],
        client_id=row["client_id"],
        sealed_secret=row["sealed_secret"],
        scopes=tuple(row["scopes"]),
        is_active=row["is_active"],
        join=JoinRule(row["join_enabled"], Role(row["join_role"]), frozenset(row["join_domains"])),
        groups_claim=row["groups_claim"],
        mappings=tuple(_mapping(one) for one in orjson.loads(row["mappings"])),
        links_owners=row["links_owners"],
        created_at=row["created_at"],
    )


def _mapping(stored: dict[str, Any]) -> GroupMapping:
    group_id, role = stored["group_id"], stored["role"]
    return GroupMapping(
        stored["value"], None if group_id is None else UUID(group_id), None if role is None else Role(role)
    )


@asynccontextmanager
async def _unique_name() -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "identity_providers_name":
            raise
        raise IdentityProviderNameTaken from error
