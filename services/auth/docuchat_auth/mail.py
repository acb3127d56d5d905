"""Mail on its way out, off the path of any request."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, Protocol, TypeVar

import structlog
from prometheus_client import Counter

from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.ids import TenantId

logger = structlog.get_logger()

_lost = Counter("docuchat_auth_mails_lost", "Mails that no mail server took.", ["queue"])


class MailBacklog(UpstreamUnavailable):
    """Too many mails are waiting to be sent; try again shortly."""

    code = "mail_backlog"


class MailRefused(UpstreamUnavailable):
    """The mail server did not take the message."""

    code = "mail_refused"


class _Mail(Protocol):
    @property
    def tenant_id(self) -> TenantId: ...


M = TypeVar("M", bound=_Mail)


class DeliveryQueue(Generic[M]):
    """A bounded queue of mails, so that no answer waits for a mail server.

    What is still queued when the process dies is lost: its owner asks for another one.
    """

    def __init__(self, name: str, size: int) -> None:
        """`name` is what the log, the metric and the background work call it."""
        self.name = name
        self._waiting: asyncio.Queue[M] = asyncio.Queue(size)

    async def offer(self, mail: M) -> None:
        """Take a mail to be delivered soon. Raises MailBacklog when too many are waiting."""
        try:
            self._waiting.put_nowait(mail)
        except asyncio.QueueFull as error:
            raise MailBacklog(retry_after=timedelta(seconds=10)) from error

    async def deliver(self, deliver: Callable[[M], Awaitable[None]]) -> None:
        """Deliver one after the other until cancelled; several may run beside each other."""
        while True:
            mail = await self._waiting.get()
            try:
                await deliver(mail)
            except Exception as error:  # noqa: BLE001 - one bad delivery must not stop the others
                # no traceback: what is being handled is a secret
                _lost.labels(self.name).inc()
                reason = error.code if isinstance(error, DocuChatError) else type(error).__name__
                logger.error("auth.mail_undelivered", queue=self.name, tenant_id=mail.tenant_id, error=reason)
            finally:
                self._waiting.task_done()

    async def drain(self, patience: timedelta) -> None:
        """Give what is queued time to go out."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self._waiting.join()
        except TimeoutError:
            _lost.labels(self.name).inc(self._waiting.qsize())
            logger.warning("auth.mails_dropped", queue=self.name, waiting=self._waiting.qsize())
