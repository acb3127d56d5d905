"""Revisions in Postgres: rows in, contracts out."""

from collections.abc import Mapping
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
        subjects: Mapping[str, int],
        *,
        state: RevisionState,
        moment: datetime,
        expires_at: datetime | None,
    ) -> None:
        await _queries.record_revisions(
            self._connection,
            tenant_id=tenant_id,
            kind=kind,
            subjects=list(subjects),
            versions=list(subjects.values()),
            state=state,
            moment=moment,
            expires_at=expires_at,
        )

    async def list_all(self, page: str | None, limit: int | None) -> RevisionPage:
        """System transactions only: all that is not forgotten, so many of them from a `page` on."""
        rows = [row async for row in _queries.list_revisions(self._connection, **_place(page), max_rows=limit)]
        return _page(rows, limit)

    async def list_after(self, after: str, page: str | None, limit: int | None) -> RevisionPage | None:
        """System transactions only: what became visible since the snapshot `after`; None when that is yet to come."""
        rows = _queries.list_revisions_after(self._connection, after=after, **_place(page), max_rows=limit)
        found = [row async for row in rows]
        return None if found[0]["is_behind"] else _page(found, limit)

    async def delete_expired(self, moment: datetime) -> int:
        """System transactions only: forget what no live token can contradict; returns how many."""
        deleted: int = await _queries.delete_expired_revisions(self._connection, moment=moment)
        return deleted


def _place(page: str | None) -> dict[str, object]:
    tenant, kind, subject = (page or "0::").split(":", 2)
    return {"page_tenant": int(tenant), "page_kind": kind, "page_subject": subject}


def _page(rows: list[asyncpg.Record], limit: int | None) -> RevisionPage:
    items = [Revision.model_validate(dict(row)) for row in rows if row["kind"] is not None]
    is_full = limit is not None and len(items) == limit
    return RevisionPage(
        after=rows[0]["snapshot"],
        items=items,
        next=f"{items[-1].tenant_id}:{items[-1].kind}:{items[-1].subject}" if is_full else None,
    )
