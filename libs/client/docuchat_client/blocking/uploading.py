"""Written by scripts/write_blocking.py from uploading.py: `make openapi` writes it again."""

from __future__ import annotations

from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.bodies import Progress
from docuchat_client.models import Document
from docuchat_client.uploading import File


class BlockingUploading(Blocking):
    """The part of a client that sends files."""

    _client: AsyncDocuChat

    def upload(
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
        return self._loop.run(
            self._client.upload(
                file,
                filename=filename,
                title=title,
                collection_id=collection_id,
                on_progress=on_progress,
                idempotency_key=idempotency_key,
            )
        )

    def upload_to_chatbot(
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
        return self._loop.run(
            self._client.upload_to_chatbot(
                chatbot_id,
                file,
                filename=filename,
                title=title,
                on_progress=on_progress,
                idempotency_key=idempotency_key,
            )
        )

    def attach(
        self,
        file: File,
        *,
        filename: str | None = None,
        title: str | None = None,
        on_progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> Document:
        """As `upload`, for questions that name it among their `attachments` once it is ready; nobody else sees it."""
        return self._loop.run(
            self._client.attach(
                file, filename=filename, title=title, on_progress=on_progress, idempotency_key=idempotency_key
            )
        )
