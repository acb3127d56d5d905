"""Use case: count what a tenant stores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from docuchat_common.clock import Clock
from docuchat_common.ids import TenantId
from docuchat_usage.documents.domain import StoredDocument

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx


class DocumentService:
    """Owns how many documents, pages and bytes a tenant stores."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock, keep_deleted: timedelta = timedelta(days=30)) -> None:
        self._uow = uow
        self._clock = clock
        self._keep_deleted = keep_deleted

    async def store(self, said: StoredDocument) -> None:
        """Count what an event says of a document; saying it again, or late, changes nothing."""
        async with self._uow(TenantId(said.tenant_id)) as tx:
            await tx.documents.store(said, self._clock.now())

    async def list_counted(self, after: UUID | None, limit: int) -> Sequence[StoredDocument]:
        """A page of the documents that count now, of all tenants, by id."""
        async with self._uow.system() as tx:
            return await tx.documents.list_counted(after, limit)

    async def forget(self) -> None:
        """Forget documents that were deleted long ago."""
        async with self._uow.system() as tx:
            await tx.documents.forget_deleted(self._clock.now() - self._keep_deleted)
