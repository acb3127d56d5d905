"""What this service does when it hears an event."""

from __future__ import annotations

from docuchat_auth.audit.service import AuditLog
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.messaging.subscriptions import AnySubscription, BatchSubscription
from docuchat_common.messaging.topology import queue_name


def subscriptions(audit: AuditLog) -> list[AnySubscription]:
    """The service's whole reaction to the world. An act that was booked before has its entry: that is its inbox row."""
    return [BatchSubscription(queue=queue_name("auth", AuditRecorded.type), event=AuditRecorded, handler=audit.book)]
