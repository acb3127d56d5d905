"""Killed processes and servers: every accepted document ends ready, once, and callers are told in time."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product, User, frames_until_end, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

pytestmark = pytest.mark.timeout(600)

_SLOWLY = Rule(endpoint="embeddings", header_delay=0.8)
_RATE = 30  # tokens a second
_COPY_SECONDS = 0.2  # how often chat copies running answers to Redis
_LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))


async def undisturbed(product: Product, book: Path) -> list[tuple[Any, ...]]:
    """The book's chunks as a run that nobody disturbs makes them."""
    async with product.user(await product.new_tenant()) as user:
        document = await user.ready(book)
        return await product.chunks(document["id"])


async def rows_of(product: Product, document_id: str) -> tuple[int, int]:
    """Rows of chunks and of vectors, of whatever generation."""
    async with product.database() as connection:
        row = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM knowledge.chunks WHERE document_id = $1) AS chunks,"
            " (SELECT count(*) FROM knowledge.chunk_vectors WHERE document_id = $1) AS vectors",
            UUID(document_id),
        )
    assert row is not None
    return row["chunks"], row["vectors"]


async def second_claim(product: Product, document_id: str) -> datetime | None:
    """When the document, which takes its time, was claimed for the second time."""
    claimed = "SELECT claimed_at FROM knowledge.documents WHERE id = $1 AND attempts = 2"
    async with product.database() as connection:
        moment: datetime | None = await connection.fetchval(claimed, UUID(document_id))
    return moment


async def in_the_midst(product: Product, document_id: str) -> None:
    """Wait until some of the document's chunks are stored, and not all."""

    async def check() -> None:
        assert (await rows_of(product, document_id))[0] > 0

    await eventually(check)


async def assert_whole(product: Product, user: User, document_id: str, expected: list[tuple[Any, ...]]) -> None:
    document = await user.settled(document_id, 90)
    assert document["status"] == "ready", document
    assert await product.chunks(document_id) == expected

    async def nothing_else_is_left() -> None:
        assert await rows_of(product, document_id) == (len(expected), len(expected))

    await eventually(nothing_else_is_left)


async def test_a_worker_killed_in_mid_document_leaves_it_to_the_next(
    product: Product, user: User, stub_provider: StubProviderHandle, book: Path
) -> None:
    expected = await undisturbed(product, book)
    stub_provider.control(_SLOWLY)
    document = await user.upload(book)
    await in_the_midst(product, document["id"])
    worker = product.running.processes["ingest-worker"]

    await asyncio.to_thread(worker.kill)

    assert (await user.document(document["id"]))["status"] == "processing"
    await asyncio.to_thread(worker.start)
    started = datetime.now(UTC)

    # the row says when; how fast the book is then read is the machine's affair
    claimed = await eventually(lambda: second_claim(product, document["id"]), 60)
    assert claimed - started <= timedelta(seconds=5), "a killed worker's job runs again within 5 s (R3)"
    stub_provider.reset()
    await assert_whole(product, user, document["id"], expected)


@pytest.mark.full
async def test_a_broker_killed_during_ingestion_loses_nothing(
    product: Product, user: User, stub_provider: StubProviderHandle, book: Path
) -> None:
    assert product.servers.rabbitmq is not None
    expected = await undisturbed(product, book)
    stub_provider.control(_SLOWLY)
    document = await user.upload(book)
    await in_the_midst(product, document["id"])

    await asyncio.to_thread(product.servers.rabbitmq.kill)
    # what is uploaded without a broker is accepted: the row is the truth, the event waits beside it
    accepted = await user.upload(_LEAFLET)
    await asyncio.to_thread(product.servers.rabbitmq.start)
    stub_provider.control()

    await assert_whole(product, user, document["id"], expected)
    assert (await user.settled(accepted["id"]))["status"] == "ready"
    await product.healthy()
    frames = await user.ask("How long does the warranty of the kettle last?")
    assert frames[-1]["type"] == "end"

    async def everything_is_booked() -> None:
        served, booked = stub_provider.counts(), await product.booked(user.tenant_id)
        assert booked["prompt_tokens"] == served.prompt_tokens > 0
        assert booked["completion_tokens"] == served.completion_tokens

    await eventually(everything_is_booked)


async def test_a_database_killed_during_ingestion_loses_nothing(
    product: Product, user: User, stub_provider: StubProviderHandle, book: Path
) -> None:
    assert product.servers.postgres is not None
    expected = await undisturbed(product, book)
    stub_provider.control(_SLOWLY)
    document = await user.upload(book)
    await in_the_midst(product, document["id"])

    await asyncio.to_thread(product.servers.postgres.kill)
    asked = time.monotonic()
    refused = await user.http.get("/v1/files")
    assert refused.status_code == 503, refused.text
    assert int(refused.headers["retry-after"]) >= 1
    assert time.monotonic() - asked < 4
    await asyncio.to_thread(product.servers.postgres.start)
    back = time.monotonic()

    async def is_served() -> None:
        assert (await user.http.get("/v1/files")).status_code == 200

    await eventually(is_served)
    assert time.monotonic() - back <= 10, "a good request within 10 s of the database's return (R3)"
    stub_provider.control()
    await assert_whole(product, user, document["id"], expected)
    await product.healthy()


@pytest.mark.parametrize(
    ("service", "paths", "unharmed"),
    [
        ("chat", ["/v1/chats", "/v1/search?q=kettle"], ["/v1/files", "/v1/usage", "/v1/users/me"]),
        ("usage", ["/v1/usage"], ["/v1/files", "/v1/chats", "/v1/users/me"]),
        ("auth", ["/v1/users/me"], ["/v1/files", "/v1/chats", "/v1/usage"]),
    ],
)
async def test_a_service_that_is_down_is_told_within_two_seconds(
    product: Product, user: User, service: str, paths: list[str], unharmed: list[str]
) -> None:
    await user.ready(_LEAFLET)
    process = product.running.processes[service]
    await asyncio.to_thread(process.kill)
    try:
        requests = [("GET", path, None) for path in paths]
        if service in {"chat", "usage"}:  # without holds nothing may be spent
            requests.append(("POST", "/v1/chat", {"message": "How long does the warranty last?"}))
        if service == "auth":
            requests.append(("POST", "/v1/auth/request-code", {"email": "somebody@example.com"}))
        for method, path, body in requests:
            began = time.monotonic()
            response = await user.http.request(method, path, json=body)
            took = time.monotonic() - began
            assert response.status_code == 503, f"{path}: {response.status_code} {response.text}"
            assert int(response.headers["retry-after"]) >= 1
            assert response.headers["content-type"].startswith("application/problem+json")
            assert took < 2, f"{path} took {took:.1f} s"
        for path in unharmed:
            assert (await user.http.get(path)).status_code == 200, path
        if service in {"chat", "usage"}:
            async with user.socket() as socket:
                await socket.send(json.dumps({"message": "How long does the warranty last?"}))
                (frame,) = await frames_until_end(socket, 2)
                assert frame["type"] == "error"
                assert frame["retry_after"] >= 1
    finally:
        await asyncio.to_thread(process.start)
    for path in paths:

        async def is_served(path: str = path) -> None:
            assert (await user.http.get(path)).status_code == 200

        await eventually(is_served, 10)
    assert (await user.ask("How long does the warranty last?"))[-1]["type"] == "end"


async def test_an_answer_whose_process_dies_is_kept_and_booked_once(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(pdf_of("The warranty of the kettle lasts 36 months."))
    stub_provider.control(Rule(endpoint="chat", exact_tokens=300, rate=_RATE))
    chat = product.running.processes["chat"]
    async with user.socket() as socket:
        await socket.send(json.dumps({"message": "How long does the warranty last?"}))
        seen = [json.loads(await socket.recv()) for _ in range(12)]
        await asyncio.to_thread(chat.kill)
        broken = (await frames_until_end(socket))[-1]
    assert broken["type"] == "error"
    assert broken["turn_id"] == seen[0]["turn_id"]
    await asyncio.to_thread(chat.start)

    async def is_settled() -> None:
        booked, usage = await product.booked(user.tenant_id), await user.usage()
        assert booked["chats"] == 1
        assert booked["prompt_tokens"] == stub_provider.counts().prompt_tokens
        assert booked["completion_tokens"] >= 1
        assert usage["quota"]["tokens"]["held"] == 0

    await eventually(is_settled, 75)
    messages = (await user.http.get("/v1/messages", params={"chat_id": seen[0]["chat_id"]})).json()["items"]
    (answer,) = [message for message in messages if message["role"] == "assistant"]
    assert answer["status"] == "interrupted"
    # a process shows its answers to the others a few times a second: what it sent after the last time died with it
    read = "".join(frame["token"] for frame in seen if frame["type"] == "delta")
    kept = answer["content"]
    assert kept.startswith(read) or read.startswith(kept)
    assert len(read.split()) - len(kept.split()) <= _RATE * _COPY_SECONDS * 2
