"""Files on their way to the service."""

from __future__ import annotations

import io
import mimetypes
import uuid
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import httpx2

from docuchat_client.bodies import Progress, ReportingFile, given
from docuchat_client.calls import Calls
from docuchat_client.models import Document

File = str | Path | BinaryIO | bytes


class Uploading(Calls):
    """The part of a client that sends files."""

    async def upload(
        self,
        file: File,
        *,
        filename: str | None = None,
        title: str | None = None,
        collection_id: UUID | str | None = None,
        on_progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """Send a file; the document that answers is queued for ingestion, or is the one with the same content.

        `on_progress(sent, total)` is called with bytes while the file leaves. A lost connection is tried again under
        the same key.
        """
        fields = given(title=title, collection_id=collection_id)
        return await self._send("/v1/files", file, filename, fields, on_progress, idempotency_key)

    async def upload_to_chatbot(
        self,
        chatbot_id: UUID | str,
        file: File,
        *,
        filename: str | None = None,
        title: str | None = None,
        on_progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """As `upload`, to the chatbot's own collection, which has its id; each of its versions answers from it."""
        path = f"/v1/chatbots/{chatbot_id}/documents"
        return await self._send(path, file, filename, given(title=title), on_progress, idempotency_key)

    async def attach(
        self,
        file: File,
        *,
        filename: str | None = None,
        title: str | None = None,
        on_progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """As `upload`, for questions that name it among their `attachments` once it is ready; nobody else sees it."""
        return await self._send("/v1/attachments", file, filename, given(title=title), on_progress, idempotency_key)

    async def _send(
        self,
        path: str,
        file: File,
        filename: str | None,
        fields: dict[str, str],
        on_progress: Progress | None,
        idempotency_key: str | None,
    ) -> Document:
        opened: BinaryIO
        if isinstance(file, (str, Path)):
            local = Path(file)
            # Local files are read where they are: httpx2 reads the parts of a form without waiting, too.
            opened, name = local.open("rb"), filename or local.name  # noqa: ASYNC230
        elif isinstance(file, bytes):
            opened, name = io.BytesIO(file), filename or "document"
        else:
            opened, name = file, filename or Path(str(getattr(file, "name", "document"))).name
        try:
            size = opened.seek(0, io.SEEK_END)
            opened.seek(0)
            reporting = ReportingFile(opened, size, on_progress)
            media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
            return await self._get(
                Document,
                "POST",
                path,
                data=fields,
                files=lambda: {"file": (name, reporting.rewound(), media_type)},
                headers={"Idempotency-Key": idempotency_key or str(uuid.uuid4())},
                timeout=httpx2.Timeout(120.0, connect=5.0, pool=None),
            )
        finally:
            if opened is not file:
                opened.close()
