"""R1 and R3: documents survive the death of every part."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import CommitLoser, parts_of, product_that_loses_commits
from docuchat_testkit.pdf import pages_of
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

_WORDS = "kettle warranty water handle table window garden bottle paper lamp bridge river stone letter".split()
_SLOWLY = Rule(endpoint="embeddings", header_delay=0.3)
_ANSWERS_IN_TROUBLE = {200, 202, 409, 429, 503}
_LOST_SHARE = 0.01
_BROKEN = ("gateway", "ingest-worker", "chat", "usage", "rabbitmq", "postgres", "redis")


def made_documents(count: int, seed: int = 5) -> dict[str, bytes]:
    """PDFs of three pages, no two alike, each of several chunks."""
    chance = random.Random(seed)

    def page(number: int) -> list[str]:
        return [f"Document {number}.", *(" ".join(chance.choices(_WORDS, k=10)) + "." for _ in range(40))]

    return {f"made-{number:03}.pdf": pages_of(*(page(number) for _ in range(3))) for number in range(count)}


async def accepted(user: User, name: str, content: bytes, seen: Counter[int]) -> str:
    """Upload until it is accepted, as a client with an idempotency key does; the document's id."""
    key = uuid.uuid4().hex

    async def upload() -> str:
        response = await user.http.post(
            "/v1/files", files={"file": (name, content, "application/pdf")}, headers={"Idempotency-Key": key}
        )
        seen[response.status_code] += 1
        assert response.status_code in {200, 202}, f"{name}: {response.status_code} {response.text}"
        return str(response.json()["id"])

    return await eventually(upload, 120)


async def settled(product: Product, tenant_id: int, wanted: int, timeout: float) -> dict[str, Any]:
    """The tenant's documents by file name, once as many as wanted are there and none is under way."""

    async def check() -> dict[str, Any]:
        async with product.database() as connection:
            rows = await connection.fetch(
                "SELECT id, filename, status, error_code, blob_key, sha256, generation FROM knowledge.documents"
                " WHERE tenant_id = $1 AND deleted_at IS NULL AND status <> 'receiving'",
                tenant_id,
            )
        states = Counter(row["status"] for row in rows)
        assert len(rows) == wanted and set(states) <= {"ready", "failed"}, states
        return {row["filename"]: row for row in rows}

    return await eventually(check, timeout)


async def chunks_by_name(product: Product, documents: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: await product.chunks(str(row["id"])) for name, row in documents.items() if row["status"] == "ready"}


async def assert_nothing_is_doubled(product: Product, tenant_id: int, chunks: int) -> None:
    """Of whatever generation, no row besides the live ones is left."""

    async def check() -> None:
        async with product.database() as connection:
            row = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM knowledge.chunks WHERE tenant_id = $1) AS chunks,"
                " (SELECT count(*) FROM knowledge.chunk_vectors WHERE tenant_id = $1) AS vectors",
                tenant_id,
            )
        assert row is not None
        assert (row["chunks"], row["vectors"]) == (chunks, chunks)

    await eventually(check)


async def assert_blobs_are_the_rows(product: Product, tenant_id: int, documents: dict[str, Any]) -> None:
    """Walk the blob store: each document's file is whole, and no file is without a row."""
    async with product.database() as connection:
        rows = await connection.fetch("SELECT id FROM knowledge.documents WHERE tenant_id = $1", tenant_id)
    known = {str(row["id"]) for row in rows}
    store = Path(urlsplit(product.running.env_for("gateway")["BLOB_URL"]).path)
    files = [path for path in (store / "tenants" / str(tenant_id)).rglob("*") if path.is_file()]
    assert [path for path in files if not known.intersection(path.parts)] == []
    for row in documents.values():
        content = (store / row["blob_key"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"], row["filename"]


async def kill_parts_while_documents_are_read(
    product: Product,
    provider: StubProviderHandle,
    *,
    documents: int,
    kills: int,
    seed: int,
    loser: CommitLoser | None = None,
) -> None:
    contents = made_documents(documents)
    async with product.user(await product.new_tenant()) as calm:
        await asyncio.gather(*(calm.upload(content, filename=name) for name, content in contents.items()))
        undisturbed = await settled(product, calm.tenant_id, documents, 180)
        expected = await chunks_by_name(product, undisturbed)
    assert len(expected) == documents

    chance = random.Random(seed)
    parts = parts_of(product)
    # every part dies, the rest by chance
    victims = [*_BROKEN, *chance.choices(_BROKEN, k=kills)][:kills] if kills >= len(_BROKEN) else []
    victims = victims or chance.sample(("ingest-worker", "gateway", "postgres", "rabbitmq"), k=kills)
    chance.shuffle(victims)
    provider.control(_SLOWLY)
    if loser:
        loser.share = _LOST_SHARE
    seen: Counter[int] = Counter()
    names = list(contents)
    uploads: list[asyncio.Task[str]] = []
    async with product.user(await product.new_tenant()) as user:
        for number, victim in enumerate(victims):
            batch = names[number * documents // kills : (number + 1) * documents // kills]
            uploads += [asyncio.create_task(accepted(user, name, contents[name], seen)) for name in batch]
            await asyncio.sleep(chance.uniform(0, 0.9))
            await asyncio.to_thread(parts[victim].kill)
            await asyncio.to_thread(parts[victim].start)
        ids = await asyncio.gather(*uploads)
        provider.control()
        if loser:
            loser.share = 0
        ended = await settled(product, user.tenant_id, documents, 180)

        assert {str(row["id"]) for row in ended.values()} == set(ids)
        assert len(set(ids)) == documents
        failed = {name: row["error_code"] for name, row in ended.items() if row["status"] == "failed"}
        assert all(failed.values()), failed
        chunks = await chunks_by_name(product, ended)
        assert chunks == {name: expected[name] for name in chunks}
        await assert_nothing_is_doubled(product, user.tenant_id, sum(map(len, chunks.values())))
        await assert_blobs_are_the_rows(product, user.tenant_id, ended)
    assert set(seen) <= _ANSWERS_IN_TROUBLE, seen
    print(
        f"\nR1: {documents} documents, {len(victims)} kills {dict(Counter(victims))}: {len(chunks)} ready, "
        f"{len(failed)} failed with a reason {failed}, 0 lost, 0 chunks doubled, chunk set equal, "
        f"{loser.lost if loser else 0} answers to COMMIT lost; answers {dict(seen)}"
    )
    await product.healthy()


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_every_accepted_document_survives_kills(product: Product, stub_provider: StubProviderHandle) -> None:
    await kill_parts_while_documents_are_read(product, stub_provider, documents=12, kills=4, seed=20261121)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_every_accepted_document_survives_kills_of_every_part_and_lost_commits(
    breakable_servers: TestServers, stub_provider: StubProviderHandle, tmp_path: Path
) -> None:
    lossy = product_that_loses_commits(breakable_servers, tmp_path / "product", stub_provider, redis_number=3, seed=7)
    async with lossy as (product, loser):
        await kill_parts_while_documents_are_read(
            product, stub_provider, documents=200, kills=35, seed=20261122, loser=loser
        )


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_work_goes_on_soon_after_a_part_is_back(product: Product, stub_provider: StubProviderHandle) -> None:
    """R3: broker back, worker killed, database back."""
    parts = parts_of(product)
    async with product.user(await product.new_tenant()) as user:
        await asyncio.to_thread(parts["rabbitmq"].kill)
        document = await user.upload(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        await asyncio.to_thread(parts["rabbitmq"].start)
        began = time.monotonic()

        async def is_published() -> None:
            async with product.database() as connection:
                assert await connection.fetchval("SELECT count(*) FROM knowledge.outbox") == 0

        await eventually(is_published)
        broker = time.monotonic() - began
        assert (await user.settled(document["id"]))["status"] == "ready"

        async def until_it_runs_again(thing: str) -> float:
            stub_provider.reset()
            stub_provider.control(Rule(endpoint="embeddings", header_delay=20, times=1))
            document = await user.upload(small_pdf((f"The warranty of the {thing} lasts 12 months.",)))

            async def is_embedding() -> None:
                assert len(stub_provider.calls()) == 1

            await eventually(is_embedding)
            await asyncio.to_thread(parts["ingest-worker"].kill)
            await asyncio.to_thread(parts["ingest-worker"].start)
            began = time.monotonic()

            async def runs_again() -> None:
                assert len(stub_provider.calls()) == 2

            await eventually(runs_again)
            took = time.monotonic() - began
            assert (await user.settled(document["id"]))["status"] == "ready"
            return took

        # the machine is shared: it may stand still once, or twice
        for thing in ("lamp", "clock", "radio"):
            worker = await until_it_runs_again(thing)
            if worker <= 5:
                break

        await asyncio.to_thread(parts["postgres"].kill)
        await asyncio.to_thread(parts["postgres"].start)
        began = time.monotonic()

        async def is_served() -> None:
            assert (await user.http.get("/v1/files")).status_code == 200

        await eventually(is_served)
        database = time.monotonic() - began
        assert (await user.settled(document["id"]))["status"] == "ready"
    print(
        f"\nR3: broker back → published after {broker:.1f} s; worker back → its job runs after {worker:.1f} s; "
        f"database back → served after {database:.1f} s"
    )
    assert (broker <= 10, worker <= 5, database <= 10) == (True, True, True)
