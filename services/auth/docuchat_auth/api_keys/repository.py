"""API keys in Postgres: rows in, domain objects out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.api_keys.domain import ApiKey, KeySecret
from docuchat_auth.users.presence import user_still_there
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.api_keys")


class ApiKeyRepository:
    """The keys of the transaction's tenant, with their secrets."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_tenant(self, key_id: UUID) -> TenantId | None:
        """System transactions only: whose key it is."""
        found: int | None = await _queries.find_tenant_of_key(self._connection, key_id=key_id)
        return None if found is None else TenantId(found)

    async def find(self, tenant_id: TenantId, key_id: UUID) -> ApiKey | None:
        row = await _queries.find_key(self._connection, tenant_id=tenant_id, key_id=key_id)
        return None if row is None else (await self._with_secrets(tenant_id, [row]))[0]

    async def find_of_chatbot(self, tenant_id: TenantId, chatbot_id: UUID) -> ApiKey | None:
        row = await _queries.find_key_of_chatbot(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id)
        return None if row is None else (await self._with_secrets(tenant_id, [row]))[0]

    async def lock(self, key_id: UUID) -> None:
        """Hold off other changes of the key until this transaction ends."""
        await _queries.lock_key(self._connection, key=f"auth.api_keys {key_id}")

    async def list_after(
        self, tenant_id: TenantId, after: UUID | None, subject: UUID | None, limit: int
    ) -> list[ApiKey]:
        """The next keys by id; with a `subject` only its own."""
        rows = _queries.list_keys_after(
            self._connection, tenant_id=tenant_id, after=after, subject=subject, max_rows=limit
        )
        return await self._with_secrets(tenant_id, [row async for row in rows])

    async def count_service_keys(self, tenant_id: TenantId, shown_to: UUID) -> int:
        """How many of the tenant's own keys somebody could use."""
        return int(await _queries.count_service_keys(self._connection, tenant_id=tenant_id, shown_to=shown_to))

    async def list_shown_to(self, tenant_id: TenantId, key_id: UUID) -> set[UUID]:
        """Who could use a key: whoever was shown what opens it."""
        rows = _queries.list_shown_to(self._connection, tenant_id=tenant_id, key_id=key_id)
        return {row["shown_to"] async for row in rows}

    async def list_ids(self, tenant_id: TenantId, user_id: UserId) -> list[UUID]:
        """The ids of a user's keys."""
        rows = _queries.list_key_ids(self._connection, tenant_id=tenant_id, user_id=user_id)
        return [row["id"] async for row in rows]

    async def count(self, tenant_id: TenantId, user_id: UserId | None) -> int:
        found: int = await _queries.count_keys(self._connection, tenant_id=tenant_id, user_id=user_id)
        return found

    async def add(self, key: ApiKey) -> None:
        """A new key with its secrets. Raises UserGone."""
        with user_still_there():
            await _queries.add_key(
                self._connection,
                tenant_id=key.tenant_id,
                key_id=key.id,
                name=key.name,
                user_id=key.user_id,
                # of no meaning in a chatbot's key, which acts as the chatbot; the table asks for one
                role=key.role if key.chatbot_id is None else Role.VIEWER,
                scopes=sorted(key.scopes),
                addresses=list(key.addresses),
                created_by=key.created_by,
                created_at=key.created_at,
                expires_at=key.expires_at,
                chatbot_id=key.chatbot_id,
            )
        for secret in key.secrets:
            await self.add_secret(key.tenant_id, secret)

    async def add_secret(self, tenant_id: TenantId, secret: KeySecret) -> None:
        await _queries.add_secret(
            self._connection,
            tenant_id=tenant_id,
            secret_id=secret.id,
            key_id=secret.key_id,
            prefix=secret.prefix,
            secret_hash=secret.secret_hash,
            created_at=secret.created_at,
            shown_to=secret.shown_to,
        )

    async def end_secret(self, tenant_id: TenantId, secret_id: UUID, kept: KeySecret) -> None:
        """When a secret gives way to the newer one, and its id from now on."""
        await _queries.end_secret(
            self._connection, tenant_id=tenant_id, secret_id=secret_id, new_id=kept.id, moment=kept.ends_at
        )

    async def delete_secret(self, tenant_id: TenantId, secret_id: UUID) -> None:
        await _queries.delete_secret(self._connection, tenant_id=tenant_id, secret_id=secret_id)

    async def record_use(self, tenant_id: TenantId, secret_id: UUID, moment: datetime, address: str) -> None:
        await _queries.record_key_use(
            self._connection, tenant_id=tenant_id, secret_id=secret_id, moment=moment, address=address
        )

    async def delete(self, tenant_id: TenantId, key_id: UUID) -> bool:
        """Whether there was such a key."""
        return bool(await _queries.delete_key(self._connection, tenant_id=tenant_id, key_id=key_id))

    async def _with_secrets(self, tenant_id: TenantId, rows: Sequence[asyncpg.Record]) -> list[ApiKey]:
        secrets: defaultdict[UUID, list[KeySecret]] = defaultdict(list)
        key_ids = [row["id"] for row in rows]
        async for row in _queries.list_secrets(self._connection, tenant_id=tenant_id, key_ids=key_ids):
            secrets[row["key_id"]].append(KeySecret(**row))
        return [replace(_key(row), secrets=tuple(secrets[row["id"]])) for row in rows]


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        name=row["name"],
        user_id=None if row["user_id"] is None else UserId(row["user_id"]),
        role=None if row["role"] is None or row["chatbot_id"] is not None else Role(row["role"]),
        scopes=frozenset(row["scopes"]),
        addresses=tuple(row["addresses"]),
        created_by=row["created_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        chatbot_id=row["chatbot_id"],
    )
