"""The table of the broker: who publishes what, and the exchanges, queues and rights that follow from it.

Names only; `docuchat_setup` declares them, services never do. Holds on RabbitMQ 3.10 and on 4 (no mirrored queues, no
global QoS). From `published_by` and `taken_by` of each event in the catalogue follow:

- ``docuchat.events``              topic exchange; the routing key is the event's type
- ``<service>.<event>``            quorum queue bound to it; delivery limit as guard against crash loops
- ``docuchat.retry.<service>``     direct exchange, bound only to the service's own queues that follow
- ``<service>.<event>.retry.<n>``  waits its TTL, then dead-letters back to the queue itself through the default
                                   exchange, which the broker does by itself: a retry reaches this subscriber only
- ``<service>.<event>.dlq``        what was given up, kept until replayed
- ``docuchat.usage.stream``        usage and quota events, kept for other systems to replay
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta

from docuchat_common.events.catalogue import BY_TYPE, CATALOGUE

EXCHANGE = "docuchat.events"
USAGE_STREAM = "docuchat.usage.stream"
SERVICES = tuple(sorted({service for event in CATALOGUE for service in (*event.published_by, *event.taken_by)}))
DELIVERY_LIMIT = 20


@dataclass(frozen=True)
class RetryLadder:
    """How long a failed message waits before each further try."""

    steps: tuple[timedelta, ...] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=2),
    )

    def queue_name(self, queue: str, attempt: int) -> str:
        """The retry queue for the `attempt`-th retry (from 1)."""
        return f"{queue}.retry.{attempt}"


@dataclass(frozen=True)
class SubscriberQueue:
    """The queue of one service for one event type, with its ladder."""

    service: str
    event_type: str
    retry: RetryLadder = field(default_factory=RetryLadder)

    @property
    def name(self) -> str:
        """Its name at the broker."""
        return queue_name(self.service, self.event_type)


@dataclass(frozen=True)
class Rights:
    """What a login may do, as patterns of names; it may configure nothing, and never write to the default exchange."""

    write: str
    read: str
    publish: str
    """The routing keys with which it may publish on the events exchange."""


def queues_of(service: str) -> tuple[SubscriberQueue, ...]:
    """The queues of `service`."""
    return tuple(SubscriberQueue(service, event.type) for event in CATALOGUE if service in event.taken_by)


def published_types(service: str) -> tuple[str, ...]:
    """The event types that `service` may publish."""
    return tuple(event.type for event in CATALOGUE if service in event.published_by)


def streamed_types() -> tuple[str, ...]:
    """The event types that the usage stream keeps."""
    return tuple(event.type for event in CATALOGUE if event.is_streamed)


def must_be_taken(event_type: str) -> bool:
    """Whether a service of ours has to get events of this type, so that they are published as mandatory."""
    event = BY_TYPE.get(event_type)
    return event is None or bool(event.taken_by)


def rights_of(service: str) -> Rights:
    """What the login of `service` may do."""
    exchanges = [EXCHANGE, *([retry_exchange(service)] if queues_of(service) else [])]
    return Rights(
        write=_one_of(exchanges),
        read=rf"^{re.escape(service)}\." if queues_of(service) else "^$",
        publish=_one_of(published_types(service)),
    )


def login_of(service: str) -> str:
    """The name with which `service` logs in to the broker."""
    return f"docuchat_{service}"


def retry_exchange(service: str) -> str:
    """The exchange through which `service` puts copies on its own ladders and dead-letter queues."""
    return f"docuchat.retry.{service}"


def dead_letter_queue(queue: str) -> str:
    """Name of the dead-letter queue of `queue`."""
    return f"{queue}.dlq"


def queue_name(service: str, event_type: str) -> str:
    """`<service>.<event type with dashes>`, the queue of one service for one event type."""
    stem, _, version = event_type.rpartition(".")
    return f"{service}.{stem.replace('.', '-')}.{version}"


def _one_of(names: tuple[str, ...] | list[str]) -> str:
    return f"^({'|'.join(map(re.escape, names))})$"
