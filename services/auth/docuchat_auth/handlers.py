"""What this service does when it hears an event."""

from __future__ import annotations

from docuchat_auth.audit.service import AuditLog
from docuchat_auth.lifecycle.service import Deletion
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_common.events.catalogue import AuditRecorded, TenantErased, UserErased
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription, Delivery, Subscription
from docuchat_common.messaging.topology import queue_name


def subscriptions(audit: AuditLog, deletion: Deletion, people: UserErasures) -> list[AnySubscription]:
    """The service's whole reaction to the world. An act that was booked before has its entry: that is its inbox row."""

    async def note_erased(event: TenantErased, _: Delivery) -> None:
        """A service has erased what it kept of a tenant: the receipt has it once."""
        await deletion.note(event)

    async def note_person_erased(event: UserErased, _: Delivery) -> None:
        """A service has erased what it kept of a person: likewise."""
        await people.note(event)

    return [
        BatchSubscription(queue=queue_name("auth", AuditRecorded.type), event=AuditRecorded, handler=audit.book),
        Subscription(queue=queue_name("auth", TenantErased.type), event=TenantErased, handler=note_erased),
        Subscription(queue=queue_name("auth", UserErased.type), event=UserErased, handler=note_person_erased),
    ]
