"""What a service asks of the broker: events of a type, one by one or in batches."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from docuchat_common.events.envelope import Event
from docuchat_common.messaging.topology import RetryLadder

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Delivery:
    """Facts of one delivery."""

    attempt: int
    """1 for the first delivery, one more for each climb of the ladder."""
    redelivered: bool
    """True when the broker cannot rule out that an earlier delivery was begun."""


@dataclass(frozen=True)
class Subscription(Generic[E]):
    """One service's interest in one event type."""

    queue: str
    event: type[E]
    handler: Callable[[E, Delivery], Awaitable[None]]
    prefetch: int = 8
    """How many messages are handled at once by one process."""
    retry: RetryLadder = field(default_factory=RetryLadder)


@dataclass(frozen=True)
class BatchSubscription(Generic[E]):
    """As `Subscription`, for effects that are cheaper together: the handler gets what has arrived, in one transaction.

    When it fails for several, each is tried alone, so that a poisoned event takes nobody with it.
    """

    queue: str
    event: type[E]
    handler: Callable[[Sequence[E]], Awaitable[None]]
    batch: int = 32
    """The most events of one call."""
    prefetch: int = 128
    """How many messages wait in the process; more than `batch`, so that the next batch is there when one ends."""
    retry: RetryLadder = field(default_factory=RetryLadder)


AnySubscription = Subscription[Any] | BatchSubscription[Any]
