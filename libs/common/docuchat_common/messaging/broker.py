"""The connection to RabbitMQ: made when first needed, re-made when it breaks, one a process.

We reconnect by hand rather than by `connect_robust`, which restores channels and consumers behind our back, even one
that was just cancelled; here one loop owns the order: connect, declare, consume (ADR-0001).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.exceptions import ChannelAccessRefused
from prometheus_client import Counter

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.messaging.topology import EXCHANGE, must_be_taken

logger = structlog.get_logger()

BROKER_ERRORS: tuple[type[BaseException], ...] = (
    AMQPError,
    ChannelInvalidStateError,
    ConnectionError,
    OSError,
    TimeoutError,
    RuntimeError,  # aiormq: "writer is closed", when a frame races the end of the connection
)

_UNCONFIRMED: tuple[type[BaseException], ...] = (DeliveryError, *BROKER_ERRORS)

_published = Counter("docuchat_messages_published", "Messages confirmed by the broker.", ["routing_key"])


SETUP_HINT = "run `python -m docuchat_setup topology`"
_SOON = timedelta(seconds=2)
_REFUSED = (AuthenticationError, ProbableAuthenticationError)


class Unroutable(Exception):
    """The broker has no queue for the message."""


class Broker:
    """One named connection, shared by the publisher and the consumers of a process."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self.login = unquote(urlsplit(url).username or "guest")
        self._name = name
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def connect(cls, url: str, *, name: str) -> AsyncIterator["Broker"]:
        """A broker that connects when it is first used, so that a service starts while RabbitMQ is away."""
        broker = cls(url, name)
        try:
            yield broker
        finally:
            await broker.disconnect()

    async def connection(self) -> AbstractConnection:
        """The open connection; raises UpstreamUnavailable when RabbitMQ does not answer within 5 s."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed:
                try:
                    self._connection = await self._open()
                except _REFUSED as error:
                    logger.warning("broker.login_refused", login=self.login, hint=SETUP_HINT)
                    raise UpstreamUnavailable("RabbitMQ refuses the login.", retry_after=_SOON) from error
                except BROKER_ERRORS as error:
                    raise UpstreamUnavailable("RabbitMQ does not answer.", retry_after=_SOON) from error
            return self._connection

    async def _open(self) -> AbstractConnection:
        opening = asyncio.create_task(
            aio_pika.connect(
                self._url,
                timeout=5,
                client_properties={"connection_name": self._name},
                # a peer that is frozen, not dead, is given up after two missed beats
                heartbeat=10,
            )
        )
        try:
            return await asyncio.wait_for(asyncio.shield(opening), timeout=6)
        except (asyncio.CancelledError, TimeoutError):
            # aio_pika, cancelled at the end of its handshake, leaves a connection open that nobody knows of
            try:
                await asyncio.wait({opening}, timeout=1)
            finally:
                opening.cancel()
                (opened,) = await asyncio.gather(opening, return_exceptions=True)
                if isinstance(opened, AbstractConnection):
                    await _close(opened)
            raise

    async def channel(self, *, on_return_raises: bool = False) -> AbstractChannel:
        """A fresh channel with publisher confirms."""
        connection = await self.connection()
        try:
            return await asyncio.wait_for(
                connection.channel(publisher_confirms=True, on_return_raises=on_return_raises), timeout=5
            )
        except BROKER_ERRORS as error:
            # a connection whose peer was killed can look open: it is given up, the next use makes a new one
            if self._connection is connection:
                await self.disconnect()
            raise UpstreamUnavailable("RabbitMQ does not answer.", retry_after=_SOON) from error

    async def disconnect(self) -> None:
        """Close the connection, bounded; the next use connects again."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed:
            await _close(connection)

    async def check(self) -> None:
        """Raise UpstreamUnavailable when RabbitMQ does not answer, or does not know our exchange."""
        channel = await self.channel()
        try:
            await asyncio.wait_for(channel.declare_exchange(EXCHANGE, passive=True), timeout=5)
        except ChannelNotFoundEntity as error:
            raise UpstreamUnavailable(f"The exchange is not declared; {SETUP_HINT}.", retry_after=_SOON) from error
        except BROKER_ERRORS as error:
            raise UpstreamUnavailable("RabbitMQ does not answer.", retry_after=_SOON) from error
        finally:
            with suppress(*BROKER_ERRORS):
                await channel.close()


async def _close(connection: AbstractConnection) -> None:
    with suppress(*BROKER_ERRORS):
        await asyncio.wait_for(connection.close(), timeout=3)


class Publisher:
    """Publishes to the events exchange: persistent, confirmed, and mandatory where a service of ours must get it."""

    def __init__(self, broker: Broker, *, confirm_timeout: timedelta = timedelta(seconds=10)) -> None:
        self._broker = broker
        self._timeout = confirm_timeout.total_seconds()
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._lock = asyncio.Lock()

    async def publish(self, body: bytes, *, routing_key: str, message_id: UUID, headers: Mapping[str, str]) -> None:
        """Return once the broker has confirmed; Unroutable when a queue is missing, UpstreamUnavailable else."""
        exchange = await self._open()
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(message_id),
            type=routing_key,
            user_id=self._broker.login,  # the broker refuses another's; consumers compare it with the source
        )
        try:
            await exchange.publish(message, routing_key, mandatory=must_be_taken(routing_key), timeout=self._timeout)
        except PublishError as error:
            raise Unroutable(routing_key) from error
        except (ChannelNotFoundEntity, ChannelAccessRefused) as error:
            await self._discard()
            logger.warning("broker.publish_refused", exchange=EXCHANGE, type=routing_key, hint=SETUP_HINT)
            raise UpstreamUnavailable("RabbitMQ refuses to take events of this service.") from error
        except _UNCONFIRMED as error:
            await self._discard()
            raise UpstreamUnavailable("RabbitMQ did not confirm a message.") from error
        _published.labels(routing_key).inc()

    async def _open(self) -> AbstractExchange:
        async with self._lock:
            if self._exchange is None or self._channel is None or self._channel.is_closed:
                self._channel = await self._broker.channel(on_return_raises=True)
                self._exchange = await self._channel.get_exchange(EXCHANGE, ensure=False)
            return self._exchange

    async def _discard(self) -> None:
        channel, self._channel, self._exchange = self._channel, None, None
        if channel is not None and not channel.is_closed:
            with suppress(*BROKER_ERRORS):
                await asyncio.wait_for(channel.close(), timeout=1)
