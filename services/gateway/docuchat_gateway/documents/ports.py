"""What the documents need of the world."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from docuchat_common.contracts.holdings import Holding
from docuchat_common.db.uow import Reader
from docuchat_common.ids import DocumentId, TenantId
from docuchat_gateway.transaction import GatewayTx


class OpenTransaction(Protocol):
    """A unit of work of a caller: row-level security shows what he may see."""

    def as_caller(self, caller: Reader) -> AbstractAsyncContextManager[GatewayTx]: ...


class OpenSystemTransaction(Protocol):
    """A unit of work across tenants."""

    def __call__(self) -> AbstractAsyncContextManager[GatewayTx]: ...


class CountedHoldings(Protocol):
    """What the usage service counts as stored."""

    async def list_counted(self, after: UUID | None, limit: int) -> Sequence[Holding]:
        """A page of the documents that count, of all tenants, by id."""

    async def correct(self, holdings: Sequence[Holding]) -> int:
        """Count documents as their rows say; answers how many count otherwise now."""

    async def recount(self) -> int:
        """Charge all tenants with what their counted documents come to; answers how many were charged otherwise."""


class Wakeup(Protocol):
    """Something may have changed."""

    async def wait(self, timeout: timedelta) -> None:
        """Return when something may have changed, at the latest after `timeout`."""


class DocumentSignals(Protocol):
    """News of documents' progress: hints to look at the row again, never the truth."""

    def watch(self, tenant_id: TenantId, document_id: DocumentId) -> AbstractAsyncContextManager[Wakeup]: ...


class Quotes(Protocol):
    """Sentences of documents that stand in answers."""

    async def forget(self, tenant_id: TenantId, document_id: DocumentId) -> int | None:
        """Empty a deleted document's quotes; returns how many, None when chat hears of it later, by the event."""


class Chatbots(Protocol):
    """Which chatbots there are."""

    async def find_name(self, tenant_id: TenantId, chatbot_id: UUID) -> str | None:
        """What a tenant's chatbot is called; None when there is none. Raises UpstreamUnavailable."""
