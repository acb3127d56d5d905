"""Rows to domain objects, for both stores."""

from __future__ import annotations

import asyncpg

from docuchat_knowledge.jobs.domain import WaitingDocument


def waiting_document(row: asyncpg.Record) -> WaitingDocument:
    return WaitingDocument(
        document_id=row["id"],
        tenant_id=row["tenant_id"],
        collection_id=row["collection_id"],
        uploaded_by=row["uploaded_by"],
        uploaded_with=row["uploaded_with"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        media_type=row["media_type"],
        attempts=row["attempts"],
        waiting_since=row["waiting_since"],
    )
