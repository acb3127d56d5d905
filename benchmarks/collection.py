"""A big collection of one tenant, laid directly into PostgreSQL: real sentences in new orders, with real vectors.

Rows go in by COPY as the database's administrator; the indexes are dropped before and built again after. What the chat
service then searches is what ingestion would have written: the same tables, folded search keys and stemmed words. A
chunk's vector is the mean of its sentences' vectors, weighted by length, which is nearly what the product's embedder
gives, in a tenth of the time.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from pathlib import Path

import asyncpg
import numpy as np
from harness import SQUAD, TENANT, say

from docuchat_common.ids import uuid7
from docuchat_knowledge.folding import fold_chunk
from docuchat_knowledge.vectors import HalfVector, register_vector
from docuchat_models.embeddings import normalize
from docuchat_models.wordllama import WordLlamaEmbedder

CHUNKS_PER_DOCUMENT = 200
SENTENCES_PER_CHUNK = 9
BATCH = 5_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+")

STAGING = "CREATE UNLOGGED TABLE bench_staging (id uuid, document_id uuid, ordinal integer, text text, search_key text)"
MOVE = """
INSERT INTO knowledge.chunks (id, tenant_id, document_id, collection_id, generation, ordinal, page, page_to, char_start,
                              char_end, token_count, term_count, language, text, search_vector)
SELECT s.id, $1, s.document_id, $2, 1, s.ordinal, s.ordinal + 1, s.ordinal + 1, 0, length(s.text),
       length(s.text) / 4, length(v.words), 'en', s.text, v.words
FROM bench_staging s
CROSS JOIN LATERAL (SELECT to_tsvector('pg_catalog.english', s.search_key) AS words) v
WHERE hashtext(s.id::text) & 1 = $3
"""
COUNT = """
UPDATE knowledge.collections k
SET chunk_count = s.chunks, term_total = s.terms, languages = s.languages
FROM (SELECT count(*) AS chunks, sum(term_count) AS terms, array_agg(DISTINCT language) AS languages
      FROM knowledge.chunks WHERE collection_id = $1) s
WHERE k.id = $1
"""


def questions() -> list[str]:
    """Questions that people asked about the paragraphs whose sentences the collection is made of."""
    return [
        question["question"]
        for article in json.loads(Path(SQUAD).read_text())["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
        if not question["is_impossible"]
    ]


def _sentences() -> list[str]:
    return [
        sentence
        for article in json.loads(Path(SQUAD).read_text())["data"]
        for paragraph in article["paragraphs"]
        for sentence in _SENTENCE.split(paragraph["context"])
        if len(sentence) > 30
    ]


async def load(admin_url: str, chunks: int) -> int:
    """Fill TENANT's default collection up to `chunks`; gives how many it holds."""
    started = time.perf_counter()
    first, second = await asyncpg.connect(admin_url), await asyncpg.connect(admin_url)
    try:
        present = await first.fetchval("SELECT count(*) FROM knowledge.chunks WHERE tenant_id = $1", TENANT)
        if present >= chunks:
            return present
        collection = await first.fetchval(
            "SELECT id FROM knowledge.collections WHERE tenant_id = $1 AND is_default", TENANT
        )
        if collection is None:
            collection = uuid7()
            await first.execute(
                "INSERT INTO knowledge.collections (id, tenant_id, name, is_default) VALUES ($1, $2, 'All', true)",
                collection, TENANT,
            )  # fmt: skip
        embedder = WordLlamaEmbedder()
        space = await first.fetchval("SELECT id FROM knowledge.embedding_spaces WHERE model = $1", embedder.space.model)
        indexes = await first.fetch(
            """SELECT indexname, indexdef FROM pg_indexes
               WHERE schemaname = 'knowledge' AND (indexname = 'chunks_collection_terms' OR indexname = $1)""",
            f"chunk_vectors_space_{space}",
        )
        for index in indexes:
            await first.execute(f"DROP INDEX knowledge.{index['indexname']}")
        await first.execute(STAGING)
        await register_vector(first)
        sentences, chance = _sentences(), random.Random(7)
        lengths = np.array([[len(sentence)] for sentence in sentences], np.float32)
        meanings = (await embedder.embed(sentences)).vectors * lengths
        documents = [uuid7() for _ in range(-(-(chunks - present) // CHUNKS_PER_DOCUMENT))]
        await first.copy_records_to_table(
            "documents", schema_name="knowledge",
            columns=["id", "tenant_id", "collection_id", "title", "filename", "media_type", "size_bytes", "sha256",
                     "blob_key", "status", "pages", "pages_done", "chunks", "generation", "space_id"],
            records=[(d, TENANT, collection, f"Volume {n}", f"volume-{n}.pdf", "application/pdf", 1, f"bench-{d}",
                      f"bench/{d}", "ready", 200, 200, CHUNKS_PER_DOCUMENT, 1, space) for n, d in enumerate(documents)],
        )  # fmt: skip
        for begin in range(0, len(documents), BATCH // CHUNKS_PER_DOCUMENT):
            rows, vectors = [], []
            for document_id in documents[begin : begin + BATCH // CHUNKS_PER_DOCUMENT]:
                for ordinal in range(CHUNKS_PER_DOCUMENT):
                    chosen = chance.sample(range(len(sentences)), SENTENCES_PER_CHUNK)
                    text = " ".join(sentences[n] for n in chosen)
                    rows.append((uuid7(), document_id, ordinal, text, fold_chunk(text, "en")))
                    vectors.append(
                        (rows[-1][0], TENANT, document_id, collection, 1, space, meanings[chosen].sum(axis=0))
                    )
            units = normalize(np.stack([vector for *_, vector in vectors]))
            vectors = [(*row[:-1], HalfVector(unit)) for row, unit in zip(vectors, units, strict=True)]
            await first.copy_records_to_table("bench_staging", records=rows)
            # the parent rows of these vectors follow in MOVE
            await first.execute("SET session_replication_role = replica")
            await first.copy_records_to_table("chunk_vectors", schema_name="knowledge", records=vectors)
            await first.execute("SET session_replication_role = origin")
        say(f"texts and vectors copied after {time.perf_counter() - started:.0f} s")
        await asyncio.gather(*(c.execute(MOVE, TENANT, collection, n) for n, c in enumerate((first, second))))
        await first.execute("DROP TABLE bench_staging")
        await first.execute(COUNT, collection)
        say(f"words stemmed after {time.perf_counter() - started:.0f} s")
        for connection in (first, second):
            await connection.execute("SET maintenance_work_mem = '400MB'")
        await asyncio.gather(*(c.execute(index["indexdef"]) for c, index in zip((first, second), indexes, strict=True)))
        await first.execute("VACUUM ANALYZE knowledge.chunks, knowledge.chunk_vectors, knowledge.documents")
        say(f"indexes built after {time.perf_counter() - started:.0f} s")
        return await first.fetchval("SELECT count(*) FROM knowledge.chunks WHERE tenant_id = $1", TENANT)
    finally:
        await first.close()
        await second.close()
