"""What becomes of a message: acknowledged, tried again later, or laid with the dead letters."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from docuchat_common.errors import DocuChatError, QuotaExceeded, RateLimited, TenantGone, UpstreamUnavailable
from docuchat_common.events.envelope import MalformedEvent
from docuchat_common.messaging.topology import RetryLadder, dead_letter_queue, retry_exchange

logger = structlog.get_logger()

ATTEMPT_HEADER = "x-docuchat-attempt"
REASON_HEADER = "x-docuchat-error"


class Outcome(StrEnum):
    """What becomes of a message."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


def outcome_of(error: Exception) -> Outcome:
    """Category → fate: what may heal is retried (so is the unknown), what cannot is dead-lettered at once.

    What comes late for a tenant that was deleted is done with.
    """
    match error:
        case TenantGone():
            return Outcome.ACK
        case UpstreamUnavailable() | RateLimited() | QuotaExceeded():
            return Outcome.RETRY
        case MalformedEvent() | DocuChatError():
            return Outcome.DEAD_LETTER
        case _:
            return Outcome.RETRY


def attempt_of(message: AbstractIncomingMessage) -> int:
    """Which try this is, from 1; a header that is no number counts as the first."""
    given = str(message.headers.get(ATTEMPT_HEADER) or 1)
    return int(given) if given.isdecimal() else 1


@dataclass(frozen=True)
class Fates:
    """Settles failed messages of one queue."""

    channel: AbstractChannel
    queue: str
    retry: RetryLadder
    login: str

    async def settle_failed(self, message: AbstractIncomingMessage, error: Exception) -> Outcome:
        """Put a copy where the error says, then acknowledge; raises BROKER_ERRORS when the broker takes no copy."""
        attempt, outcome = attempt_of(message), outcome_of(error)
        if outcome is Outcome.RETRY and attempt > len(self.retry.steps):
            outcome = Outcome.DEAD_LETTER
        code = error.code if isinstance(error, DocuChatError) else type(error).__name__
        log = logger.bind(outcome=outcome.value, attempt=attempt, error=code)
        if outcome is Outcome.ACK:
            log.info("message.too_late")
            await message.ack()
            return outcome
        if isinstance(error, DocuChatError | MalformedEvent):
            log.warning("message.failed")
        else:
            log.error("message.failed", exc_info=error)
        if outcome is Outcome.RETRY:
            await self._forward(message, self.retry.queue_name(self.queue, attempt), attempt + 1, code)
        else:
            await self._forward(message, dead_letter_queue(self.queue), attempt, code)
        await message.ack()
        return outcome

    async def _forward(self, message: AbstractIncomingMessage, queue: str, attempt: int, code: str) -> None:
        """Put a copy on `queue` and wait for the confirm; only then may the original be acknowledged."""
        headers = {**message.headers, ATTEMPT_HEADER: attempt, REASON_HEADER: code}
        await put_copy(self.channel, message, queue, headers, login=self.login)


async def put_copy(
    channel: AbstractChannel, message: AbstractIncomingMessage, queue: str, headers: Any, *, login: str
) -> None:
    """Put a copy of `message` on `queue`, a ladder or dead-letter queue of our own, and wait for the confirm."""
    copy = aio_pika.Message(
        message.body,
        headers=headers,
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        timestamp=datetime.now(UTC),
        type=message.type,
        user_id=login,
    )
    exchange = await channel.get_exchange(retry_exchange(queue.partition(".")[0]), ensure=False)
    await exchange.publish(copy, queue, mandatory=True, timeout=10)
