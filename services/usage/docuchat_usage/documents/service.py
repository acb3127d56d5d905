"""Use case: count what a tenant stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TenantId
from docuchat_usage.documents.domain import StoredDocument

if TYPE_CHECKING:
    from docuchat_common.db import UnitOfWork
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

_SETTLED: Final = timedelta(minutes=10)
"""What was said of a document within this time may be newer than the row that it is corrected by."""
_TENANTS: Final = 100


@contextmanager
def _barring_no_other(**of: object) -> Iterator[None]:
    """Log what cannot be corrected, and go on; raises when that is for want of a database."""
    try:
        yield
    except DocuChatError:
        raise
    except Exception:
        logger.exception("holdings.not_corrected", **of)


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

    async def correct(self, rows: Sequence[StoredDocument]) -> int:
        """Count documents as their rows say; answers how many count otherwise now. One that cannot be bars no other."""
        corrected = 0
        for row in rows:
            now = self._clock.now()
            with _barring_no_other(tenant_id=row.tenant_id, document_id=str(row.document_id)):
                async with self._uow(TenantId(row.tenant_id)) as tx:
                    changed = await tx.documents.correct(row, now - _SETTLED, now)
                corrected += changed
        return corrected

    async def recount(self, after: int) -> tuple[int, int | None]:
        """Charge some tenants with what their documents come to: how many were charged otherwise, where to go on."""
        async with self._uow.system() as tx:
            tenants = await tx.documents.list_tenants(after, _TENANTS)
        corrected = 0
        for tenant_id in tenants:
            with _barring_no_other(tenant_id=tenant_id):
                async with self._uow(tenant_id) as tx:
                    changed = await tx.documents.recount(tenant_id, self._clock.now())
                if changed:
                    logger.warning("holdings.recounted", tenant_id=tenant_id)
                corrected += changed
        return corrected, tenants[-1] if len(tenants) == _TENANTS else None

    async def forget(self) -> None:
        """Forget documents that were deleted long ago."""
        async with self._uow.system() as tx:
            await tx.documents.forget_deleted(self._clock.now() - self._keep_deleted)
