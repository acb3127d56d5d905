"""Hot queries are held to their index on 20 tenants with 200 documents each."""

import re
import uuid
from datetime import timedelta

import pytest

from docuchat_common.db import load_queries
from docuchat_knowledge.vectors import HalfVector

DOCUMENTS, JOBS, SEARCH = (load_queries(f"docuchat_knowledge.{noun}") for noun in ("documents", "jobs", "search"))
TENANT = {"tenant_id": 7}

FILL = """
INSERT INTO knowledge.collections (id, tenant_id, name, is_default)
SELECT md5('c' || t)::uuid, t, 'Documents', true FROM generate_series(1, 20) t;
INSERT INTO knowledge.documents (id, tenant_id, collection_id, title, filename, media_type, size_bytes, sha256,
blob_key,
                                 status, generation)
SELECT md5(t || '/' || n)::uuid, t, md5('c' || t)::uuid, 't', 'f', 'm', 1, n::text, 'b',
       CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'ready' END, 1
FROM generate_series(1, 20) t, generate_series(1, 200) n;
INSERT INTO knowledge.chunks (id, tenant_id, document_id, collection_id, generation, ordinal, page, page_to, char_start,
                              char_end, token_count, term_count, text, search_vector)
SELECT md5(d.id || '/' || n)::uuid, d.tenant_id, d.id, d.collection_id, 1, n, 1, 1, 0, 1, 1, 3, 'x',
       to_tsvector('simple', 'common word' || n || ' ' || d.sha256)
FROM knowledge.documents d, generate_series(1, 2) n;
INSERT INTO knowledge.chunk_vectors (chunk_id, tenant_id, document_id, collection_id, generation, space_id, embedding)
SELECT c.id, c.tenant_id, c.document_id, c.collection_id, 1, 1,
       ARRAY[random(), random(), random(), random()]::real[]::halfvec
FROM knowledge.chunks c;
"""
WITHOUT_STATISTICS = """
ALTER TABLE knowledge.documents SET (autovacuum_enabled = off);
ALTER TABLE knowledge.chunks SET (autovacuum_enabled = off);
ALTER TABLE knowledge.chunk_vectors SET (autovacuum_enabled = off);
"""


class Explaining:
    """A connection that tells the plan of a query instead of running it."""

    def __init__(self, connection):
        self._connection = connection

    async def fetch(self, sql, *parameters):
        return await self._connection.fetch("EXPLAIN " + sql, *parameters)

    fetchval = fetchrow = fetch


async def plan(answer) -> str:
    rows = [row async for row in answer] if hasattr(answer, "__aiter__") else await answer
    return "\n".join(row[0] for row in rows)


@pytest.fixture
async def filled(knowledge):
    async with knowledge.database.connect() as admin:
        await admin.execute(FILL)
        await admin.execute("ANALYZE")
    return knowledge


@pytest.fixture(params=["analysed", "fresh"])
async def with_or_without_statistics(knowledge, request):
    """As an old database is, and as one is in its first minutes or just restored."""
    async with knowledge.database.connect() as admin:
        await admin.execute(WITHOUT_STATISTICS)
        await admin.execute(FILL)
        if request.param == "analysed":
            await admin.execute("ANALYZE")
        else:
            known = "SELECT count(*) FROM pg_statistic WHERE starelid = 'knowledge.chunks'::regclass"
            assert await admin.fetchval(known) == 0
    return knowledge


async def test_the_gateways_queries_use_their_indexes(filled):
    async with filled.transaction("gateway", 7) as connection:
        explaining = Explaining(connection)
        # the plan that holds for every page and for one document alike, which the server keeps after a few calls
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute("PREPARE page AS " + DOCUMENTS.list_documents.sql)
        of_any_types = "EXPLAIN EXECUTE page(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
        page = "\n".join(row[0] for row in await connection.fetch(of_any_types))
        same = await plan(
            DOCUMENTS.find_document_by_content(
                explaining, **TENANT, collection_id=uuid.uuid4(), sha256="1", uploaded_by=None
            )
        )
        end = await plan(
            DOCUMENTS.find_end_of_page(explaining, **TENANT, after=uuid.uuid4(), purpose=None, page_size=9)
        )
    assert re.search(r"Index (Only )?Scan Backward using documents_in_collection", end), end
    assert re.search(r"Index Cond: \(\(tenant_id = .*collection_id = c.id\) AND \(id > ", end), end
    assert "documents_in_collection" in page
    bounds = r"\(tenant_id = \$\d\) AND \(collection_id = places.id\) AND \(id >= \$\d\) AND \(id <= \$\d\)"
    assert re.search(rf"Index Cond: \({bounds}\)", page), page
    assert "documents_content" in same
    for seen in (page, same, end):
        assert "Seq Scan on documents" not in seen, seen


async def test_a_claim_probes_the_queue_and_does_not_read_it(filled):
    async with filled.transaction("ingest", None) as connection:
        claim = await plan(
            JOBS.claim_document(
                Explaining(connection),
                lock_class=1,
                restart_grace=timedelta(0),
                max_attempts=3,
                token=uuid.uuid4(),
                worker_id=1,
                lease=timedelta(minutes=1),
                recipe="",
            )
        )
    assert "documents_queue" in claim
    assert "documents_running" in claim
    assert "Seq Scan on documents" not in claim, claim


async def test_chats_plans_are_the_same_with_and_without_statistics(with_or_without_statistics):
    ids = [uuid.uuid4() for _ in range(20)]
    vector = {"query": HalfVector([0.1, 0.2, 0.3, 0.4]), "row_limit": 20, "collection_id": None, "space_id": 1}
    weighed = {"queries": ["'word1'"], "weights": [1.0], "mean_length": 3.0, "row_limit": 20, "collection_id": None}
    async with with_or_without_statistics.transaction("chat", 7) as connection:
        explaining = Explaining(connection)
        exact = await plan(SEARCH.rank_by_vector_exactly(explaining, **TENANT, **vector))
        words = await plan(
            SEARCH.rank_by_words(
                explaining, **TENANT, **weighed, wanted=["word1"], all_of_them=False, candidate_limit=800
            )
        )
        probes = {
            "chunk_vectors_place": await plan(
                SEARCH.rank_documents_by_vector_exactly(explaining, **TENANT, **vector, document_ids=ids[:2])
            ),
            "chunks_place": await plan(
                SEARCH.rank_words_in_documents(explaining, **TENANT, **weighed, document_ids=ids[:2])
            ),
            "chunk_vectors_pkey": await plan(
                SEARCH.list_similarities(explaining, **TENANT, space_id=1, query=vector["query"], chunk_ids=ids)
            ),
            "chunks_": await plan(SEARCH.list_word_positions(explaining, **TENANT, chunk_ids=ids, lexemes=["common"])),
            "documents_": await plan(SEARCH.list_chunks(explaining, **TENANT, chunk_ids=ids)),
        }
    # what is searched is read once, and so are its documents: neither is walked for each row of the other, and what the
    # reader may not see is not walked over
    assert "chunk_vectors_collection" in exact
    assert len(re.findall(r"Index Cond: .*collection_id = ANY \(", exact)) == 2, exact
    assert "hashed SubPlan" in exact
    assert "Nested Loop" not in exact
    assert "hashed SubPlan" in words
    for index, seen in probes.items():
        assert f"using {index}" in seen or f"on {index}" in seen, seen
        assert "Index Cond: (tenant_id = '7'::bigint)" not in seen, seen  # by the tenant alone: all that it has
        assert "Seq Scan" not in seen, seen
    assert not [seen for seen in (words, *probes.values()) if "live_document" in seen], "probes are part of the plan"


async def test_the_word_index_and_the_vector_index_are_used(filled):
    async with filled.transaction("chat", 7) as connection:
        found = await connection.fetch(
            "SELECT * FROM knowledge.chunks_with_terms_v2(ARRAY['word1'], false, 1000, NULL)"
        )
        assert len(found) == 200
    async with filled.database.connect() as admin:
        await admin.execute("SET app.tenant_id = '7'; SET role docuchat_owner")
        words = await admin.fetch(
            "EXPLAIN SELECT id FROM knowledge.chunks c "
            "WHERE knowledge.collection_term_keys(c.collection_id, c.search_vector) "
            "&& ARRAY[hashtextextended('word1', uuid_hash_extended(md5('c7')::uuid, 0))]"
        )
        assert "chunks_collection_terms" in str(words)
        await admin.execute("SET role docuchat_chat; SET enable_sort = off; SET enable_seqscan = off")
        nearest = await admin.fetch(
            "EXPLAIN SELECT chunk_id FROM knowledge.chunk_vectors WHERE tenant_id = 7 AND space_id = 1 "
            "ORDER BY (embedding::halfvec(4)) <=> '[1,0,0,0]'::halfvec(4) LIMIT 5"
        )
        assert "chunk_vectors_space_1" in str(nearest)
