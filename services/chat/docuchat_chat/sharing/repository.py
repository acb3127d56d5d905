"""Rows of links in, domain objects out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_chat.sharing.domain import FoundShare, Share
from docuchat_common.db.queries import load_queries
from docuchat_common.ids import ChatId, TenantId

_queries: Any = load_queries("docuchat_chat.sharing")


class ShareRepository:
    """Links to chats."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, share: Share, token_hash: bytes, life: timedelta) -> Share:
        """Store a link, which expires after its life."""
        row = await _queries.add(
            self._connection,
            share_id=share.id,
            tenant_id=share.tenant_id,
            chat_id=share.chat_id,
            token_hash=token_hash,
            audience=share.audience,
            title=share.title,
            last_seq=share.last_seq,
            life=life,
        )
        return _share(row)

    async def count(self, tenant_id: TenantId, chat_id: ChatId) -> int:
        """Return how many links of a chat have not expired; none is added until the transaction ends."""
        await _queries.count_in_turn(self._connection, tenant_id=tenant_id, chat_id=chat_id)
        count: int = await _queries.count_live(self._connection, tenant_id=tenant_id, chat_id=chat_id)
        return count

    async def page(self, tenant_id: TenantId, chat_id: ChatId, limit: int, before: UUID | None) -> Sequence[Share]:
        """Return links of a chat that have not expired, the newest first."""
        rows = _queries.list_live(
            self._connection, tenant_id=tenant_id, chat_id=chat_id, before=before, row_limit=limit
        )
        return [_share(row) async for row in rows]

    async def delete(self, tenant_id: TenantId, chat_id: ChatId, share_id: UUID) -> bool:
        """Delete a link; False when there is no such link."""
        status: str = await _queries.delete(self._connection, tenant_id=tenant_id, chat_id=chat_id, share_id=share_id)
        return status != "DELETE 0"

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> FoundShare | None:
        """Return the link of a token, unless it has expired or its chat is deleted."""
        row = await _queries.find(self._connection, tenant_id=tenant_id, token_hash=token_hash)
        return FoundShare(_share(row), row["subject_type"], row["subject_id"]) if row is not None else None

    async def find_tenant(self, token_hash: bytes) -> TenantId | None:
        """Return the tenant of a token (system role)."""
        found = await _queries.find_tenant(self._connection, token_hash=token_hash)
        return TenantId(found) if found is not None else None

    async def delete_expired(self, limit: int) -> int:
        """Delete links of all tenants that have expired (system role); returns how many."""
        status: str = await _queries.delete_expired(self._connection, row_limit=limit)
        return int(status.rpartition(" ")[2])


def _share(row: asyncpg.Record) -> Share:
    return Share(
        id=row["id"],
        tenant_id=TenantId(row["tenant_id"]),
        chat_id=ChatId(row["chat_id"]),
        audience=row["audience"],
        title=row["title"],
        last_seq=row["last_seq"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
