"""Exports: asked for, looked at and fetched."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from docuchat_common.audit import entry
from docuchat_common.blobs import BlobContent, BlobMissing, Blobs
from docuchat_common.events.catalogue import ExportRequested
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.rate_limits import Limit, Rate, RateLimiter
from docuchat_gateway.documents.ports import OpenTransaction
from docuchat_gateway.exports.errors import PersonNotFound, TooManyExports
from docuchat_knowledge.exports.domain import Export
from docuchat_knowledge.exports.errors import ExportNotFound, ExportNotReady

logger = structlog.get_logger()

MOST_EXPORTS: Final = Rate(5, timedelta(days=1))
"""Of a kind: of the tenant, by a person of the own data, or by others of one person's."""
HasUser = Callable[[TenantId, UUID], Awaitable[bool]]
"""Whether a tenant has a user."""


class ExportService:
    """Whoever may ask for an archive may see and fetch it, and nobody else; what a person asked for is the person's."""

    def __init__(self, uow: OpenTransaction, blobs: Blobs, has_user: HasUser, limiter: RateLimiter) -> None:
        self._uow = uow
        self._blobs = blobs
        self._has_user = has_user
        self._limiter = limiter

    async def request(self, caller: Caller, user_id: UUID | None, settle: Settle[Export] = without_key) -> Export:
        """Ask for an archive of the tenant, or of one person. Raises PersonNotFound, ExportRunning, TooManyExports."""
        if user_id is not None and not (_may_ask(caller, user_id) and await self._is_there(caller, user_id)):
            raise PersonNotFound
        async with self._uow.as_caller(caller) as tx:
            export = await tx.exports.request(
                caller.tenant_id, uuid7(), user_id=user_id, requested_by=caller.maker_id or caller.subject_id
            )
            await self._count(caller, user_id)
            tx.outbox.add(ExportRequested(tenant_id=caller.tenant_id, export_id=export.id, user_id=user_id))
            act = "tenant.export" if user_id is None else "user.export"
            tx.outbox.add(entry(caller, act, user_id or caller.tenant_id, detail=f"export {export.id}"))
            await settle(tx, export)
        logger.info("export.requested", export_id=str(export.id), tenant_id=caller.tenant_id)
        return export

    async def page(self, caller: Caller, *, limit: int, before: UUID | None) -> Sequence[Export]:
        """Those that the caller may see, newest first."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.exports.page(
                caller.tenant_id,
                of_tenant=caller.can("tenant.own"),
                of_everybody=caller.can("users.manage"),
                of_user=caller.maker_id,
                before=before,
                limit=limit,
            )

    async def get(self, caller: Caller, export_id: UUID) -> Export:
        """Raises ExportNotFound, also for one that the caller may not see."""
        async with self._uow.as_caller(caller) as tx:
            export = await tx.exports.get(caller.tenant_id, export_id)
        if not _may_ask(caller, export.user_id) or (export.is_private and export.user_id != caller.maker_id):
            raise ExportNotFound
        return export

    async def open(self, caller: Caller, export_id: UUID) -> BlobContent:
        """The archive. Raises ExportNotFound, ExportNotReady."""
        export = await self.get(caller, export_id)
        if export.blob_key is None:
            raise ExportNotReady(state=export.state.value)
        try:
            content = await self._blobs.open(export.blob_key)
        except BlobMissing as error:  # it expires just now
            raise ExportNotFound from error
        async with self._uow.as_caller(caller) as tx:
            tx.outbox.add(entry(caller, "export.fetch", export_id))
        return content

    async def _count(self, caller: Caller, user_id: UUID | None) -> None:
        by = "self" if user_id == caller.maker_id else "others"
        kind = f"{caller.tenant_id}:all" if user_id is None else f"{caller.tenant_id}:{user_id}:{by}"
        limit = Limit("export", kind, MOST_EXPORTS)
        await self._limiter.require(limit, error=TooManyExports, limit=MOST_EXPORTS.amount)

    async def _is_there(self, caller: Caller, user_id: UUID) -> bool:
        return user_id == caller.maker_id or await self._has_user(caller.tenant_id, user_id)


def _may_ask(caller: Caller, user_id: UUID | None) -> bool:
    if user_id is None:
        return caller.can("tenant.own")
    return user_id == caller.maker_id or caller.can("users.manage")
