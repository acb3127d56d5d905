"""What the tools need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from docuchat_common.ids import ChunkId, DocumentId, TenantId, TurnId
from docuchat_knowledge.documents.domain import Document, DocumentStatus, Passage


class Documents(Protocol):
    """The documents that the transaction's caller may read."""

    async def list_documents(
        self,
        tenant_id: TenantId,
        *,
        limit: int,
        before: DocumentId | None = None,
        status: DocumentStatus | None = None,
    ) -> Sequence[Document]:
        """Return documents, newest first; `before` is the last one of the page before."""
        ...


class Passages(Protocol):
    """The passages that the transaction's caller may read."""

    async def get_passage(self, tenant_id: TenantId, chunk_id: ChunkId, *, neighbours: int = 1) -> Passage:
        """Return a passage with those before and after it. Raises PassageNotFound."""
        ...


class ReadingTx(Protocol):
    """What of a transaction the tools use."""

    @property
    def documents(self) -> Documents:
        """Documents."""
        ...

    @property
    def passages(self) -> Passages:
        """Passages."""
        ...


class RunningCalls(Protocol):
    """Which turn a running call waits for, known to all processes: a cancellation may meet another one."""

    async def note(self, name: str, turn_id: TurnId) -> None:
        """Remember the turn of a call; trouble is logged, not raised."""
        ...

    async def cancel(self, name: str) -> TurnId | None:
        """Remember that a call is cancelled, and return its turn; None where nobody knows the call."""
        ...

    async def is_cancelled(self, name: str) -> bool:
        """Tell whether a call was cancelled."""
        ...
