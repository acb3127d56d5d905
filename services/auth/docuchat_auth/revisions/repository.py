"""Revisions in Postgres: rows in, contracts out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from docuchat_common.contracts.revisions import Revision, RevisionKind, RevisionPage, RevisionState
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.revisions")


class RevisionRepository:
    """The revisions of the transaction's tenant; of all tenants in a system transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def record(
        self,
        tenant_id: TenantId,
        kind: RevisionKind,
        subjects: Sequence[str],
        *,
        version: int,
        state: RevisionState,
        moment: datetime,
        expires_at: datetime | None,
    ) -> None:
        await _queries.record_revisions(
            self._connection,
            tenant_id=tenant_id,
            kind=kind,
            subjects=subjects,
            version=version,
            state=state,
            moment=moment,
            expires_at=expires_at,
        )

    async def list_all(self) -> RevisionPage:
        """System transactions only: all that is not forgotten."""
        return _page([row async for row in _queries.list_revisions(self._connection)])

    async def list_after(self, after: str) -> RevisionPage | None:
        """System transactions only: what became visible since the snapshot `after`; None when that is yet to come."""
        rows = [row async for row in _queries.list_revisions_after(self._connection, after=after)]
        return None if rows[0]["is_behind"] else _page(rows)

    async def delete_expired(self, moment: datetime) -> int:
        """System transactions only: forget what no live token can contradict; returns how many."""
        deleted: int = await _queries.delete_expired_revisions(self._connection, moment=moment)
        return deleted


def _page(rows: list[asyncpg.Record]) -> RevisionPage:
    return RevisionPage(
        after=rows[0]["snapshot"],
        items=[Revision.model_validate(dict(row)) for row in rows if row["kind"] is not None],
    )
