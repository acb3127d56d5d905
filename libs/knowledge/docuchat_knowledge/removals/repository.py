"""What a removed user leaves in schema knowledge: rows in, ids out."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import DocumentId, UserId
from docuchat_common.removals import RemovedUser, RemovedUsers, removed_user

_queries = load_queries(__package__)


class LegacyRepository:
    """Documents, collections and memberships of who is gone (role: ingest; `list_left` in a system transaction)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.removed = RemovedUsers(connection, "knowledge")

    async def list_left(self, limit: int) -> Sequence[RemovedUser]:
        """Removed users, of all tenants, under whose id something is found."""
        return [removed_user(row) async for row in _queries.list_left(self._connection, row_limit=limit)]

    async def hand_documents_over(self, who: RemovedUser, heir: UserId, limit: int) -> int:
        """Make some of the user's documents the heir's, but those that the heir has as well; gives how many."""
        rows = _queries.hand_documents_over(
            self._connection, tenant_id=who.tenant_id, user_id=who.user_id, heir=heir, row_limit=limit
        )
        return len([row async for row in rows])

    async def list_documents(self, who: RemovedUser, limit: int) -> Sequence[DocumentId]:
        """Some of the user's documents."""
        rows = _queries.list_documents_of(
            self._connection, tenant_id=who.tenant_id, user_id=who.user_id, row_limit=limit
        )
        return [DocumentId(row["id"]) async for row in rows]

    async def leave_collections(self, who: RemovedUser, heir: UserId | None) -> int:
        """End the user's memberships; what the user made is managed by the heir. Gives how many ended."""
        place = {"tenant_id": who.tenant_id, "user_id": who.user_id, "heir": heir}
        if heir is not None:
            await _queries.hand_collections_over(self._connection, **place)
        await _queries.rename_maker(self._connection, **place)
        await _queries.delete_attachments(self._connection, tenant_id=who.tenant_id, user_id=who.user_id)
        status: str = await _queries.end_memberships(
            self._connection, tenant_id=who.tenant_id, member_ids=who.subject_ids
        )
        return int(status.rpartition(" ")[2])
