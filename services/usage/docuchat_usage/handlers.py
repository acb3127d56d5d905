"""What this service does when it hears an event."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from docuchat_common.events.catalogue import TenantCreated, UsageRecorded
from docuchat_common.messaging.subscriptions import Delivery, Subscription
from docuchat_common.messaging.topology import queue_name
from docuchat_usage.ledger.domain import Usage
from docuchat_usage.quotas.domain import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from docuchat_common.events.envelope import Event
    from docuchat_usage.ledger.service import LedgerService
    from docuchat_usage.quotas.service import QuotaService


async def book_usage(ledger: LedgerService, event: UsageRecorded, _: Delivery) -> None:
    """A provider was called: charge it."""
    await ledger.book(
        Usage(
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
            chat_id=event.chat_id,
            turn_id=event.turn_id,
            document_id=event.document_id,
            hold_id=event.hold_id,
        )
    )


async def open_tenant(quotas: QuotaService, event: TenantCreated, _: Delivery) -> None:
    """A tenant was made: give it a plan and a budget. Doing so twice changes nothing."""
    await quotas.open_tenant(event.tenant_id)


def subscriptions(quotas: QuotaService, ledger: LedgerService, prefetch: int) -> list[Subscription[Any]]:
    """The service's whole reaction to the world."""
    handlers: dict[type[Event], Callable[[Any, Delivery], Awaitable[None]]] = {
        UsageRecorded: partial(book_usage, ledger),
        TenantCreated: partial(open_tenant, quotas),
    }
    return [
        Subscription(queue=queue_name("usage", event.type), event=event, handler=handler, prefetch=prefetch)
        for event, handler in handlers.items()
    ]
