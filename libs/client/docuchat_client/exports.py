"""Archives of all that is kept of the tenant, or of one person."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from docuchat_client.bodies import Progress
from docuchat_client.calls import Calls
from docuchat_client.errors import Conflict, DocuChatError
from docuchat_client.identity import Export
from docuchat_client.models import Page

_POLL_SECONDS = 1.0


class Exports(Calls):
    """The part of a client that takes data along."""

    async def export_tenant(self, *, idempotency_key: str | None = None) -> Export:
        """Ask for an archive of the whole tenant, as its owner; the one that is being made, if one is."""
        return await self._ask("/v1/tenant/export", idempotency_key)

    async def export_user(self, user_id: UUID | str, *, idempotency_key: str | None = None) -> Export:
        """Ask for an archive of one person: oneself, or, without chats, anybody of the tenant for who manages users."""
        return await self._ask(f"/v1/users/{user_id}/export", idempotency_key)

    def exports(self) -> AsyncIterator[Export]:
        """Every archive that one may fetch, the newest first."""
        return self._every(Page[Export], "/v1/exports")

    async def export(self, export_id: UUID | str) -> Export:
        """How far an archive is."""
        return await self._get(Export, "GET", f"/v1/exports/{export_id}")

    async def wait_for_export(self, export_id: UUID | str, *, poll_seconds: float = _POLL_SECONDS) -> Export:
        """The archive when it can be fetched. Raises DocuChatError `export_failed` when it could not be made."""
        while True:
            export = await self.export(export_id)
            if export.state == "ready":
                return export
            if export.state == "failed":
                raise DocuChatError("The archive could not be made; ask for another one.", code="export_failed")
            await asyncio.sleep(poll_seconds)

    async def download_export(
        self, export_id: UUID | str, target: Path | BinaryIO, on_progress: Progress | None = None
    ) -> int:
        """Write an archive to `target`; returns its size. A file that fails halfway is removed."""
        return await self._download(f"/v1/exports/{export_id}/archive", target, on_progress)

    async def _ask(self, path: str, idempotency_key: str | None) -> Export:
        try:
            return await self._create(Export, path, None, idempotency_key)
        except Conflict as error:
            running: Any = error.details.get("export_id")
            if error.code != "export_running" or running is None:
                raise
            return await self.export(running)
