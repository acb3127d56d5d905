"""Written by scripts/write_blocking.py from exports.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.bodies import Progress
from docuchat_client.identity import Export


class BlockingExports(Blocking):
    """The part of a client that takes data along."""

    _client: AsyncDocuChat

    def export_tenant(self, *, idempotency_key: str | None = None) -> Export:
        """Ask for an archive of the whole tenant, as its owner; the one that is being made, if one is."""
        return self._loop.run(self._client.export_tenant(idempotency_key=idempotency_key))

    def export_user(self, user_id: UUID | str, *, idempotency_key: str | None = None) -> Export:
        """Ask for an archive of one person: oneself, or, without chats, anybody of the tenant for who manages users."""
        return self._loop.run(self._client.export_user(user_id, idempotency_key=idempotency_key))

    def exports(self) -> Iterator[Export]:
        """Every archive that one may fetch, the newest first."""
        return self._loop.iterate(self._client.exports())

    def export(self, export_id: UUID | str) -> Export:
        """How far an archive is."""
        return self._loop.run(self._client.export(export_id))

    def wait_for_export(self, export_id: UUID | str, *, poll_seconds: float = 1.0) -> Export:
        """The archive when it can be fetched. Raises DocuChatError `export_failed` when it could not be made."""
        return self._loop.run(self._client.wait_for_export(export_id, poll_seconds=poll_seconds))

    def download_export(
        self, export_id: UUID | str, target: Path | BinaryIO, on_progress: Progress | None = None
    ) -> int:
        """Write an archive to `target`; returns its size. A file that fails halfway is removed."""
        return self._loop.run(self._client.download_export(export_id, target, on_progress))
