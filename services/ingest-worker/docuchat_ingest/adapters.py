"""The blob store, the usage service, Redis, the dead-letter queue and Prometheus behind the ports."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aio_pika
import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from prometheus_client import Counter, Gauge, Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisError

from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.events.catalogue import DocumentUploaded
from docuchat_common.http.client import ServiceClient
from docuchat_common.ids import DocumentId, HoldId, TenantId
from docuchat_common.messaging.broker import BROKER_ERRORS, Broker
from docuchat_common.messaging.topology import dead_letter_queue, queue_name
from docuchat_ingest.errors import BlobMissing
from docuchat_knowledge.jobs.domain import Claim, QueueDepth, WaitingDocument
from docuchat_models.throttle import RedisThrottle

logger = structlog.get_logger()

UPLOADED_QUEUE = queue_name("ingest", DocumentUploaded.type)

_BROKER_AWAY: tuple[type[BaseException], ...] = (UpstreamUnavailable, *BROKER_ERRORS)
_CHUNK_BYTES = 1024 * 1024

_documents = Counter("docuchat_ingest_documents", "Documents by what became of them.", ["outcome"])
_stage_seconds = Histogram(
    "docuchat_ingest_stage_seconds",
    "Time of a document in each stage.",
    ["stage"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_queued = Gauge("docuchat_ingest_queue_documents", "Documents that wait.")
_running = Gauge("docuchat_ingest_running_documents", "Documents that are in work, at all workers.")
_age = Gauge("docuchat_ingest_queue_age_seconds", "How long the oldest document that could be worked on has waited.")


class ObstoreBlobs:
    """A local folder (`file:///…`) or an S3 bucket (`s3://bucket/prefix`), with one API."""

    def __init__(self, url: str) -> None:
        if url.startswith("file://"):
            Path(unquote(urlsplit(url).path)).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    async def fetch(self, key: str, target: Path, *, max_bytes: int) -> bool:
        async with _translated():
            result = await obstore.get_async(self._store, key)
            if result.meta["size"] > max_bytes:
                return False
            with await asyncio.to_thread(target.open, "wb") as file:
                async for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                    await asyncio.to_thread(file.write, chunk)
        return True

    async def delete_document(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        deleted = 0
        async with _translated():
            async for batch in obstore.list(self._store, f"tenants/{tenant_id}/documents/{document_id}"):
                for entry in batch:
                    with suppress(FileNotFoundError):
                        await obstore.delete_async(self._store, entry["path"])
                        deleted += 1
        return deleted

    async def check(self) -> None:
        """Raise UpstreamUnavailable when the store cannot be asked (readiness)."""
        with suppress(BlobMissing):
            async with _translated():
                await obstore.head_async(self._store, "readiness")


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing from error
    except (BaseError, OSError) as error:
        logger.warning("blob_store.failed", error=type(error).__name__)
        raise UpstreamUnavailable("The blob store does not answer; try again shortly.") from error


def remove_orphans(prefix: str) -> None:
    """Remove the work folders of workers that were killed: a tenant's file must not outlive its document."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner = folder.name.removeprefix(prefix).partition("-")[0]
        if owner != str(os.getpid()) and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


class UsageQuota:
    """Holds at the usage service over HTTP."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {"X-Internal-Token": internal_token}

    async def hold(self, claim: Claim, model: str, tokens: int, lease: timedelta) -> HoldId:
        body = {
            "tenant_id": claim.tenant_id,
            "user_id": None if claim.uploaded_by is None else str(claim.uploaded_by),
            "chatbot_id": None,
            "kind": "embedding",
            "model": model,
            "input_tokens": tokens,
            "max_output_tokens": 0,
            "lease_seconds": lease.total_seconds(),
        }
        answer = await self._client.request_json("POST", "/internal/holds", json=body, headers=self._headers)
        return HoldId(answer["hold_id"])

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        body: dict[str, float] = {"lease_seconds": lease.total_seconds()}
        if tokens is not None:
            body["tokens"] = tokens
        await self._change("PATCH", hold_id, body)

    async def drop(self, hold_id: HoldId) -> None:
        await self._change("DELETE", hold_id, None)

    async def _change(self, method: str, hold_id: HoldId, body: dict[str, float] | None) -> None:
        try:
            await self._client.request_json(method, f"/internal/holds/{hold_id}", json=body, headers=self._headers)
        except DocuChatError as error:
            logger.info("hold.unchanged", method=method, hold_id=str(hold_id), code=error.code)


class RedisAnnouncer:
    """Publishes on `documents:{tenant}:{document}`, to which the gateway's progress streams listen."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def announce(self, tenant_id: TenantId, document_id: DocumentId) -> None:
        try:
            await self._redis.publish(f"documents:{tenant_id}:{document_id}", str(document_id))
        except (RedisError, OSError, TimeoutError) as error:
            logger.info("progress.unannounced", error=type(error).__name__)


class ForgivingThrottle(RedisThrottle):
    """The shared pause; while Redis is away every worker goes by the provider's answers alone."""

    async def remaining_pause(self) -> timedelta:
        try:
            return await super().remaining_pause()
        except (RedisError, OSError, TimeoutError):
            return timedelta(0)

    async def pause(self, duration: timedelta) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await super().pause(duration)


class BrokerDeadLetters:
    """Tickets of documents that were given up; `docuchat-ingest replay` brings them back."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def bury(self, document: WaitingDocument) -> None:
        event = DocumentUploaded(
            tenant_id=document.tenant_id,
            document_id=document.document_id,
            collection_id=document.collection_id,
            user_id=document.uploaded_by,
            sha256=document.sha256,
            size_bytes=document.size_bytes,
            media_type=document.media_type,
        )
        message = aio_pika.Message(
            event.to_cloudevent(),
            content_type="application/cloudevents+json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(event.id),
            type=event.type,
        )
        try:
            channel = await self._broker.channel()
            async with channel:
                await channel.default_exchange.publish(message, dead_letter_queue(UPLOADED_QUEUE), timeout=10)
        except _BROKER_AWAY as error:
            logger.warning("document.unburied", error=type(error).__name__)


class PrometheusMeter:
    """Counts on `/metrics`."""

    def finished(self, outcome: str) -> None:
        _documents.labels(outcome).inc()

    def stage(self, name: str, seconds: float) -> None:
        _stage_seconds.labels(name).observe(seconds)

    def queue(self, depth: QueueDepth) -> None:
        _queued.set(depth.queued)
        _running.set(depth.processing)
        _age.set(depth.oldest_age.total_seconds())
