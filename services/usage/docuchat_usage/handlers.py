"""What this service does when it hears an event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from docuchat_common.erasure import TenantErasure
from docuchat_common.events.catalogue import (
    DocumentDeleted,
    DocumentReady,
    DocumentUploaded,
    TenantCreated,
    TenantDeleted,
    UsageRecorded,
    UserRemoved,
)
from docuchat_common.ids import TenantId
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription, Delivery, Subscription
from docuchat_common.messaging.topology import queue_name
from docuchat_common.removals import RemovedUser
from docuchat_usage.documents.domain import StoredDocument
from docuchat_usage.documents.service import DocumentService
from docuchat_usage.ledger.domain import Kind, Usage
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.quotas.service import QuotaService
from docuchat_usage.removals.service import Removals


async def book_usage(ledger: LedgerService, events: Sequence[UsageRecorded]) -> None:
    """Providers were called: charge it. An event that was booked before has its entry, which is its inbox row."""
    await ledger.book([_usage(event) for event in events])


async def open_tenant(quotas: QuotaService, event: TenantCreated, _: Delivery) -> None:
    """A tenant was made: give it a plan and budgets. Doing so twice changes nothing."""
    await quotas.open_tenant(event.tenant_id)


async def count_upload(documents: DocumentService, event: DocumentUploaded, _: Delivery) -> None:
    """A document is stored: it counts, in place of its hold."""
    await documents.store(
        StoredDocument(
            tenant_id=event.tenant_id,
            document_id=event.document_id,
            user_id=event.user_id,
            size_bytes=event.size_bytes,
            hold_id=event.hold_id,
        )
    )


async def count_pages(documents: DocumentService, event: DocumentReady, _: Delivery) -> None:
    """A document was read: its pages count."""
    await documents.store(
        StoredDocument(
            tenant_id=event.tenant_id, document_id=event.document_id, pages=event.pages, generation=event.generation
        )
    )


async def forget_document(documents: DocumentService, event: DocumentDeleted, _: Delivery) -> None:
    """A document is gone: it counts no more, whatever is heard of it later."""
    await documents.store(StoredDocument(tenant_id=event.tenant_id, document_id=event.document_id, deleted=True))


async def begin_erasure(erasure: TenantErasure, event: TenantDeleted, _: Delivery) -> None:
    """A tenant is gone: take nothing more of it; what is there goes in the background."""
    await erasure.begin(TenantId(event.tenant_id))


async def forget_user(removals: Removals, event: UserRemoved, _: Delivery) -> None:
    """A user is gone: the documents count for the heir, the user's own budgets go."""
    await removals.settle(RemovedUser.of(event))


def subscriptions(
    quotas: QuotaService,
    documents: DocumentService,
    ledger: LedgerService,
    removals: Removals,
    erasure: TenantErasure,
    *,
    batch: int,
) -> list[AnySubscription]:
    """The service's whole reaction to the world."""
    singles: list[tuple[Any, Any]] = [
        (TenantCreated, partial(open_tenant, quotas)),
        (TenantDeleted, partial(begin_erasure, erasure)),
        (DocumentUploaded, partial(count_upload, documents)),
        (DocumentReady, partial(count_pages, documents)),
        (DocumentDeleted, partial(forget_document, documents)),
        (UserRemoved, partial(forget_user, removals)),
    ]
    return [
        BatchSubscription(
            queue=queue_name("usage", UsageRecorded.type),
            event=UsageRecorded,
            handler=partial(book_usage, ledger),
            batch=batch,
            prefetch=4 * batch,
        ),
        *(
            Subscription(queue=queue_name("usage", event.type), event=event, handler=handler)
            for event, handler in singles
        ),
    ]


def _usage(event: UsageRecorded) -> Usage:
    return Usage(
        event_id=event.id,
        tenant_id=event.tenant_id,
        kind=Kind(event.kind),
        provider=event.provider,
        model=event.model,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        estimated=event.estimated,
        occurred_at=event.time,
        user_id=event.user_id,
        chatbot_id=event.chatbot_id,
        key_id=event.key_id,
        visitor_id=event.visitor_id,
        chat_id=event.chat_id,
        turn_id=event.turn_id,
        document_id=event.document_id,
        hold_id=event.hold_id,
        corrects=event.corrects,
    )
