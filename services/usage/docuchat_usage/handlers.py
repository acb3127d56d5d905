"""What this service does when it hears an event."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from docuchat_common.events.catalogue import TenantCreated, UsageRecorded
from docuchat_common.messaging.subscriptions import Delivery, Subscription
from docuchat_common.messaging.topology import queue_name
from docuchat_usage.domain import Kind, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from docuchat_common.events.envelope import Event
    from docuchat_usage.service import UsageService


async def book_usage(service: UsageService, event: UsageRecorded, _: Delivery) -> None:
    """A provider was called: charge it."""
    await service.book(
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


async def open_tenant(service: UsageService, event: TenantCreated, _: Delivery) -> None:
    """A tenant was made: give it a plan and a budget. Doing so twice changes nothing."""
    await service.open_tenant(event.tenant_id)


HANDLERS: Final[dict[type[Event], Callable[[UsageService, Any, Delivery], Awaitable[None]]]] = {
    UsageRecorded: book_usage,
    TenantCreated: open_tenant,
}


def subscriptions(service: UsageService, prefetch: int) -> list[Subscription[Any]]:
    """A subscription for each handler."""
    return [
        Subscription(
            queue=queue_name("usage", event.type), event=event, handler=partial(handler, service), prefetch=prefetch
        )
        for event, handler in HANDLERS.items()
    ]
