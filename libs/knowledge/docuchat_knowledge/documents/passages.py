"""Opening what an answer cites: a chunk with its neighbours, and a page's text (role: gateway)."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.ids import ChunkId, DocumentId, TenantId
from docuchat_knowledge.documents.domain import PageText, Passage, PassageText
from docuchat_knowledge.documents.errors import DocumentNotFound, PageNotFound, PassageNotFound
from docuchat_knowledge.documents.repository import DocumentRegistry

_queries = load_queries(__package__)
PAGE_BREAK = "\f"
"""Stands between two pages in a chunk's text."""


class PassageReader:
    """Passages and pages of one tenant's live documents, within the caller's unit of work."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def get_passage(self, tenant_id: TenantId, chunk_id: ChunkId, *, neighbours: int = 1) -> Passage:
        """A chunk with up to `neighbours` chunks before and after it. Raises PassageNotFound."""
        rows = [
            row
            async for row in _queries.read_passages(
                self._connection, tenant_id=tenant_id, chunk_id=chunk_id, neighbours=neighbours
            )
        ]
        place = next((index for index, row in enumerate(rows) if row["id"] == chunk_id), None)
        if place is None:
            raise PassageNotFound
        chunk, texts = rows[place], [_passage_text(row) for row in rows]
        return Passage(
            document_id=chunk["document_id"],
            collection_id=chunk["collection_id"],
            title=chunk["title"],
            filename=chunk["filename"],
            chunk=texts[place],
            before=tuple(texts[:place]),
            after=tuple(texts[place + 1 :]),
        )

    async def read_page(self, tenant_id: TenantId, document_id: DocumentId, page: int) -> PageText:
        """The text of a page, counted from 1, as it was read. Raises DocumentNotFound, PageNotFound."""
        document = await DocumentRegistry(self._connection).find(tenant_id, document_id)
        if document is None:
            raise DocumentNotFound
        if document.pages is None or document.generation == 0 or not 1 <= page <= document.pages:
            raise PageNotFound
        rows = [
            row
            async for row in _queries.read_page_chunks(
                self._connection, tenant_id=tenant_id, document_id=document_id, page=page
            )
        ]
        return PageText(document_id, page, document.pages, join_page(rows, page))


def join_page(chunks: Sequence[asyncpg.Record], page: int) -> str:
    """One page's text from the chunks that touch it, in order; what chunks repeat of one another stands once.

    White space between chunks was not kept; a line break stands for it.
    """
    text, end = "", None
    for chunk in chunks:
        parts = chunk["text"].split(PAGE_BREAK)
        number = page - chunk["page"]
        part = parts[number]
        start = chunk["char_start"] + sum(len(before) + 1 for before in parts[:number])
        if end is not None and start > end:
            text += "\n"
        text += part[max((end or start) - start, 0) :]
        end = max(end or 0, start + len(part))
    return text


def _passage_text(row: asyncpg.Record) -> PassageText:
    return PassageText(
        id=row["id"],
        ordinal=row["ordinal"],
        page=row["page"],
        page_to=row["page_to"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        text=row["text"],
        token_count=row["token_count"],
    )
