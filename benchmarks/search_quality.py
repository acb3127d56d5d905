"""How well search finds: nDCG@10 and recall@1 of each leg and of both, through the real Searcher on a real Postgres.

The data are the answerable questions of SQuAD 2.0 (half of the dev set): each has one paragraph that answers it.
Every paragraph
is one chunk, every article one document. Plain BM25 over the same paragraphs gives nDCG@10 0.888 and recall@1 0.808.

    python benchmarks/search_quality.py --data squad-dev.json

`--postgres-url` names a server to make a database on (an administrator's address); without it one is started and
thrown away.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from docuchat_common.db.presence import Presence
from docuchat_common.ids import DocumentId, TenantId, uuid7
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.jobs.claims import LOCK_CLASS, ClaimStore
from docuchat_knowledge.jobs.domain import ChunkDraft
from docuchat_knowledge.jobs.repository import WorkerStore
from docuchat_knowledge.search.service import Searcher
from docuchat_knowledge.search.statistics import SearchStatistics
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.wordllama import WordLlamaEmbedder
from docuchat_testkit.databases import ClonedDatabase, build_template, clone, drop

BM25_NDCG, BM25_RECALL = 0.888, 0.808
TARGET_NDCG = 0.92
TENANT = TenantId(1)


async def as_tenant(connection: asyncpg.Connection) -> None:
    await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(TENANT))


async def ingest(
    cloned: ClonedDatabase, articles: Sequence[dict], embedder: WordLlamaEmbedder
) -> dict[UUID, tuple[int, int]]:
    """Store every article; gives (article, paragraph) by chunk id."""
    async with cloned.connect("docuchat_owner") as owner:
        await ensure_space(owner, embedder.space)
    async with cloned.open("gateway") as gateway, gateway.connection() as connection, connection.transaction():
        await as_tenant(connection)
        registry = DocumentRegistry(connection)
        collection = await CollectionRepository(connection).open_default(TENANT)
        places: dict[DocumentId, int] = {}
        for number, article in enumerate(articles):
            document_id = DocumentId(uuid7())
            places[document_id] = number
            await registry.register(
                NewDocument(
                    id=document_id,
                    tenant_id=TENANT,
                    collection_id=collection.id,
                    title=article["title"].replace("_", " "),
                    filename=f"{article['title']}.txt",
                    media_type="text/plain",
                    size_bytes=1,
                    sha256=hashlib.sha256(article["title"].encode()).hexdigest(),
                    blob_key=f"benchmark/{document_id}",
                    uploaded_by=None,
                )
            )
    lease = timedelta(minutes=5)
    async with cloned.open("ingest") as database, Presence.open(cloned.system_url("ingest"), LOCK_CLASS) as presence:
        while True:
            async with database.connection(system=True) as connection, connection.transaction():
                claim = await ClaimStore(connection).claim(presence.process_id, lease=lease, max_attempts=3)
            if claim is None:
                break
            texts = [paragraph["context"] for paragraph in articles[places[claim.document_id]]["paragraphs"]]
            drafts = [ChunkDraft(n, n + 1, n + 1, 0, len(t), t, len(t) // 4, "en") for n, t in enumerate(texts)]
            vectors = (await embedder.embed(texts)).vectors
            async with database.connection() as connection, connection.transaction():
                await as_tenant(connection)
                store = WorkerStore(connection)
                await store.write_chunks(claim, embedder.space, drafts, vectors)
                await store.swap(claim, pages=len(texts))
    async with cloned.connect() as admin:
        await admin.execute("ANALYZE")
        rows = await admin.fetch("SELECT id, document_id, ordinal FROM knowledge.chunks")
    return {row["id"]: (places[DocumentId(row["document_id"])], row["ordinal"]) for row in rows}


async def measure(
    questions: Sequence[tuple[str, tuple[int, int]]],
    chunks: dict[UUID, tuple[int, int]],
    find: Callable[[int], Awaitable[list[UUID]]],
) -> tuple[float, float, list[float]]:
    """(nDCG@10, recall@1, seconds of each query)."""
    gain, first, seconds = 0.0, 0, []
    for number, (_, wanted) in enumerate(questions):
        start = time.perf_counter()
        found = [chunks[chunk] for chunk in await find(number)]
        seconds.append(time.perf_counter() - start)
        if wanted in found[:10]:
            gain += 1 / math.log2(found.index(wanted) + 2)
        first += found[:1] == [wanted]
    return gain / len(questions), first / len(questions), seconds


async def run(postgres_url: str, articles: Sequence[dict], sample: int | None) -> bool:
    questions = [
        (question["question"], (number, ordinal))
        for number, article in enumerate(articles)
        for ordinal, paragraph in enumerate(article["paragraphs"])
        for question in paragraph["qas"]
        if not question["is_impossible"]
    ][:sample]
    embedder = WordLlamaEmbedder()
    cloned = await clone(postgres_url, await build_template(postgres_url))
    try:
        chunks = await ingest(cloned, articles, embedder)
        vectors = (await embedder.embed([text for text, _ in questions])).vectors
        async with cloned.open("chat") as database:
            statistics = SearchStatistics()

            async def search(number: int, *, words: bool, vector: bool) -> list[UUID]:
                async with database.connection() as connection, connection.transaction(readonly=True):
                    await as_tenant(connection)
                    text = questions[number][0] if words else ""
                    results = await Searcher(connection, statistics).search(
                        TENANT, text, vectors[number] if vector else None, embedder.space, 10
                    )
                    return [result.chunk_id for result in results]

            legs = {
                "vector leg": await measure(questions, chunks, lambda n: search(n, words=False, vector=True)),
                "word leg": await measure(questions, chunks, lambda n: search(n, words=True, vector=False)),
                "hybrid": await measure(questions, chunks, lambda n: search(n, words=True, vector=True)),
            }
    finally:
        await drop(cloned)
    print(f"search quality: {len(questions)} questions, {len(chunks)} chunks, embedder {embedder.space.model}")
    print(f"{'':22}{'nDCG@10':>9}{'recall@1':>10}{'p50 ms':>9}{'p95 ms':>9}")
    print(f"{'BM25 (reference)':22}{BM25_NDCG:>9.3f}{BM25_RECALL:>10.3f}")
    for name, (ndcg, recall, seconds) in legs.items():
        ordered = sorted(seconds)
        p50, p95 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.95)] * 1000
        print(f"{name:22}{ndcg:>9.4f}{recall:>10.4f}{p50:>9.2f}{p95:>9.2f}")
    hybrid = legs["hybrid"][0]
    met = hybrid >= TARGET_NDCG and hybrid >= max(legs["vector leg"][0], legs["word leg"][0])
    print(f"P7: nDCG@10 >= {TARGET_NDCG} and hybrid not below its better leg: {'met' if met else 'MISSED'}")
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SQUAD_FILE") or None, help="squad-dev.json (or SQUAD_FILE)"
    )
    parser.add_argument("--postgres-url", default=None, help="administrator's address of a server to use")
    parser.add_argument("--sample", type=int, default=None, help="only the first so many questions")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("--data is missing")
    articles = json.loads(arguments.data.read_text())["data"]
    with ExitStack() as stack:
        url = arguments.postgres_url
        if url is None:
            from docuchat_testkit.servers import running_servers

            url = stack.enter_context(running_servers()).postgres_url
        met = asyncio.run(run(url, articles, arguments.sample))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
