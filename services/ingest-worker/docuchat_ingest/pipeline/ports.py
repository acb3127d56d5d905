"""What a document's way needs from outside."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from docuchat_common.ids import HoldId, TenantId
from docuchat_ingest.reading.process.pool import PageWindow
from docuchat_knowledge.documents.domain import DeletionReceipt
from docuchat_knowledge.jobs.domain import Claim, WaitingDocument
from docuchat_models.spaces import EmbeddingSpace


class DocumentReader(Protocol):
    def read(self, path: Path, media_type: str) -> AsyncGenerator[PageWindow, None]:
        """Raises Unreadable with the reason, ParserStarved."""
        ...


class Quota(Protocol):
    """Holds at the usage service."""

    async def hold(self, claim: Claim, space: EmbeddingSpace, *, tokens: int, pages: int, lease: timedelta) -> HoldId:
        """Set tokens aside, and the pages that the document adds to what is stored.

        Raises QuotaExceeded, RateLimited, UpstreamUnavailable.
        """
        ...

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        """Keep the hold, with fewer tokens when told so; failing is logged, not raised."""
        ...

    async def release(self, hold_id: HoldId) -> None:
        """Nothing more of it will be used; failing is logged, the lease ends it anyway."""
        ...


class Announcer(Protocol):
    async def announce(self, document: Claim | WaitingDocument) -> None:
        """Tell who watches that the document's row changed; never raises, watchers also poll."""
        ...

    async def announce_deletion(self, tenant_id: TenantId, receipt: DeletionReceipt) -> None:
        """The same of a document that was deleted."""
        ...
