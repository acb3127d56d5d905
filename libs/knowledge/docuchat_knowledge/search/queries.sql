-- Search (role: chat; select only).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.
-- No plan here may hang on statistics, which a fresh or restored database does not have: what is looked up by id is a LATERAL
-- probe behind OFFSET 0, whose only index condition besides the tenant's is that id, and a filter by documents is a hash (IS TRUE
-- keeps it from becoming a join, which without statistics would be a nested loop over the tenant's whole set).
-- live_document_v1 is such a probe: the planner puts its text in its place.
-- The collections that are searched are the reader's own set, looked up by id: the attachments of all others stand in the same
-- table, and are not walked over.

-- name: measure_readable^
-- Size, mean length and languages of what is searched: the collections that the reader may see, or one of them; a name of that
-- set; and for this transaction, how far the vector index searches, and that it goes on while filters leave too little: set
-- here, since it costs no round trip.
WITH searched AS MATERIALIZED (
    SELECT c.id, c.chunk_count, c.term_total, c.languages
    FROM unnest(knowledge.readable_v2('search')) AS readable (id)
    CROSS JOIN LATERAL (
        SELECT k.id, k.chunk_count, k.term_total, k.languages FROM knowledge.collections k
        WHERE k.id = readable.id AND k.tenant_id = :tenant_id OFFSET 0
    ) c
    WHERE :collection_id::uuid IS NULL OR readable.id = :collection_id::uuid
)
SELECT coalesce(sum(c.chunk_count), 0)::bigint AS chunks, coalesce(sum(c.term_total), 0)::bigint AS terms,
       coalesce((SELECT array_agg(DISTINCT l) FROM searched k, unnest(k.languages) l), '{}') AS languages,
       md5(string_agg(c.id::text, ' ' ORDER BY c.id)) AS searched,
       set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', :ef_search::text, true)
FROM searched c;

-- name: analyze_query
-- The query's words as each language's chunks have them: (position, language, lexeme). English tells stop words for all.
SELECT language.code AS language, word.lexeme, word.positions
FROM unnest(:languages::text[], :search_keys::text[]) AS language (code, search_key)
CROSS JOIN LATERAL unnest(to_tsvector(knowledge.text_config(language.code), language.search_key)) AS word;

-- name: count_terms
-- How many of the searched chunks have each word, counted no further than the cap.
SELECT lexeme, chunk_count FROM knowledge.count_terms_v2(:lexemes::text[], :cap, :collection_id::uuid);

-- name: count_terms_in_sample
-- How many of the newest chunks of each searched collection, by its share, have each word: for words too common to count. The
-- first row is the sample's size.
WITH sample AS MATERIALIZED (
    SELECT k.search_vector
    FROM unnest(knowledge.readable_v2('search')) AS readable (id)
    CROSS JOIN LATERAL (
        SELECT k.id, k.chunk_count FROM knowledge.collections k
        WHERE k.id = readable.id AND k.tenant_id = :tenant_id OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT h.search_vector FROM knowledge.chunks h
        WHERE h.tenant_id = :tenant_id AND h.collection_id = c.id
        ORDER BY h.id DESC LIMIT ceil(:sample_size::integer * c.chunk_count / :chunks::float8)::bigint
    ) k
    WHERE :collection_id::uuid IS NULL OR readable.id = :collection_id::uuid
)
SELECT q.lexeme, (SELECT count(*) FROM sample) AS sample_size,
       (SELECT count(*) FROM sample s WHERE s.search_vector @@ q.query::tsquery) AS chunk_count
FROM unnest(:lexemes::text[], :queries::text[]) AS q (lexeme, query);

-- name: rank_by_words
-- Okapi BM25 with k1 = 0.65, b = 0.75 over chunks that have the wanted words. ts_rank of one word is
-- (1 + 1/4 + … + 1/tf²) / 1.645, which equals saturation at k1 = 0.65; it is turned back into tf to bring the length in.
WITH found AS MATERIALIZED (
    SELECT c.id, c.document_id, c.generation, c.collection_id, c.search_vector, c.term_count
    FROM knowledge.chunks_with_terms_v2(:wanted::text[], :all_of_them, :candidate_limit, :collection_id::uuid) AS hit (id)
    -- OFFSET 0: one probe of the primary key a hit, whatever a generic plan thinks of their number
    CROSS JOIN LATERAL (
        SELECT k.id, k.document_id, k.generation, k.collection_id, k.search_vector, k.term_count
        FROM knowledge.chunks k WHERE k.id = hit.id AND k.tenant_id = :tenant_id OFFSET 0
    ) c
),
live AS MATERIALIZED (
    SELECT d.id, d.generation
    FROM (SELECT DISTINCT document_id FROM found) f
    CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, f.document_id) d
),
candidates AS MATERIALIZED (
    SELECT c.id, c.search_vector, 0.65 * (0.25 + 0.75 * c.term_count / :mean_length::float8) AS damping
    FROM found c
    WHERE ((c.document_id, c.generation) IN (SELECT l.id, l.generation FROM live l)) IS TRUE
      AND (:collection_id::uuid IS NULL OR c.collection_id = :collection_id::uuid)
),
words AS MATERIALIZED (
    SELECT query::tsquery AS query, weight FROM unnest(:queries::text[], :weights::float8[]) AS w (query, weight)
)
SELECT c.id AS chunk_id,
       sum(w.weight * 1.65 * frequency.tf / (frequency.tf + c.damping)) AS score
FROM candidates c
CROSS JOIN words w
CROSS JOIN LATERAL (SELECT 1.6449340668482264 * ts_rank('{1,1,1,1}', c.search_vector, w.query) AS share) AS saturated
CROSS JOIN LATERAL (SELECT 0.65 * share / (1.65 - share) AS tf) AS frequency
WHERE share > 0
GROUP BY c.id
ORDER BY score DESC, c.id
LIMIT :row_limit;

-- name: rank_words_in_documents
-- The same over all chunks of some documents.
WITH candidates AS MATERIALIZED (
    SELECT c.id, c.search_vector, 0.65 * (0.25 + 0.75 * c.term_count / :mean_length::float8) AS damping
    FROM unnest(:document_ids::uuid[]) AS wanted (id)
    CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, wanted.id) d
    CROSS JOIN LATERAL (
        SELECT k.id, k.collection_id, k.search_vector, k.term_count FROM knowledge.chunks k
        WHERE k.document_id = d.id AND k.generation = d.generation AND k.tenant_id = :tenant_id OFFSET 0
    ) c
    WHERE (:collection_id::uuid IS NULL OR c.collection_id = :collection_id::uuid)
),
words AS MATERIALIZED (
    SELECT query::tsquery AS query, weight FROM unnest(:queries::text[], :weights::float8[]) AS w (query, weight)
)
SELECT c.id AS chunk_id,
       sum(w.weight * 1.65 * frequency.tf / (frequency.tf + c.damping)) AS score
FROM candidates c
CROSS JOIN words w
CROSS JOIN LATERAL (SELECT 1.6449340668482264 * ts_rank('{1,1,1,1}', c.search_vector, w.query) AS share) AS saturated
CROSS JOIN LATERAL (SELECT 0.65 * share / (1.65 - share) AS tf) AS frequency
WHERE share > 0
GROUP BY c.id
ORDER BY score DESC, c.id
LIMIT :row_limit;

-- name: rank_by_vector_exactly
-- The nearest chunks by reading all searched vectors, which where they are few is faster than an index and exact. What other
-- collections hold is not touched.
WITH searched AS MATERIALIZED (
    SELECT ARRAY(SELECT c.id FROM unnest(knowledge.readable_v2('search')) AS c (id)
                 WHERE :collection_id::uuid IS NULL OR c.id = :collection_id::uuid) AS ids
)
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM knowledge.chunk_vectors v
WHERE v.tenant_id = :tenant_id AND v.space_id = :space_id AND v.collection_id = ANY ((SELECT ids FROM searched)::uuid[])
  AND ((v.document_id, v.generation) IN (
      SELECT d.id, d.generation FROM knowledge.documents d
      WHERE d.tenant_id = :tenant_id AND d.collection_id = ANY ((SELECT ids FROM searched)::uuid[]) AND d.deleted_at IS NULL)) IS TRUE
ORDER BY v.embedding <=> :query::halfvec
LIMIT :row_limit;

-- name: rank_documents_by_vector_exactly
-- The nearest chunks of some documents, by their index.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM unnest(:document_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, wanted.id) d
CROSS JOIN LATERAL (
    SELECT k.chunk_id, k.collection_id, k.space_id, k.embedding FROM knowledge.chunk_vectors k
    WHERE k.document_id = d.id AND k.generation = d.generation AND k.tenant_id = :tenant_id OFFSET 0
) v
WHERE v.space_id = :space_id AND (:collection_id::uuid IS NULL OR v.collection_id = :collection_id::uuid)
ORDER BY v.embedding <=> :query::halfvec
LIMIT :row_limit;

-- name: rank_by_vector_index
-- The nearest chunks by the space's HNSW index.
SELECT chunk_id, similarity FROM knowledge.nearest_chunks(:space_id, :dimension, (:query::halfvec)::real[], :collection_id::uuid, :row_limit)
ORDER BY similarity DESC;

-- name: list_word_positions
-- Where the query's words stand in these chunks.
SELECT c.id AS chunk_id, c.term_count, word.lexeme, word.positions
FROM unnest(:chunk_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT k.id, k.term_count, k.search_vector FROM knowledge.chunks k
    WHERE k.id = wanted.id AND k.tenant_id = :tenant_id OFFSET 0
) c
CROSS JOIN LATERAL unnest(c.search_vector) AS word
WHERE word.lexeme = ANY (:lexemes::text[]);

-- name: list_similarities
-- The similarity of chunks that only their words found.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM unnest(:chunk_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT k.chunk_id, k.space_id, k.embedding FROM knowledge.chunk_vectors k
    WHERE k.chunk_id = wanted.id AND k.tenant_id = :tenant_id OFFSET 0
) v
WHERE v.space_id = :space_id;

-- name: list_chunks
-- Live chunks with what a citation needs.
SELECT c.id, c.document_id, c.collection_id, d.title, d.filename, c.ordinal, c.page, c.page_to, c.char_start, c.char_end,
       c.text, c.token_count
FROM unnest(:chunk_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT k.id, k.document_id, k.generation, k.collection_id, k.ordinal, k.page, k.page_to, k.char_start, k.char_end, k.text,
           k.token_count
    FROM knowledge.chunks k WHERE k.id = wanted.id AND k.tenant_id = :tenant_id OFFSET 0
) c
CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, c.document_id) d
WHERE d.generation = c.generation;

-- name: list_openings
-- The first chunk of each of these documents.
SELECT c.id AS chunk_id
FROM unnest(:document_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, wanted.id) d
CROSS JOIN LATERAL (
    SELECT k.id FROM knowledge.chunks k
    WHERE k.document_id = d.id AND k.generation = d.generation AND k.tenant_id = :tenant_id ORDER BY k.ordinal LIMIT 1
) c;

-- name: check_readiness^
-- How many documents of the asked set are in which state; one that is re-ingested counts as ready by its live generation.
SELECT count(*) FILTER (WHERE status = 'queued' AND generation = 0) AS queued,
       count(*) FILTER (WHERE status = 'processing' AND generation = 0) AS processing,
       count(*) FILTER (WHERE generation > 0) AS ready,
       count(*) FILTER (WHERE status = 'failed' AND generation = 0) AS failed,
       count(*) FILTER (WHERE generation > 0 AND space_id <> (SELECT s.id FROM knowledge.embedding_spaces s WHERE s.is_current))
           AS outdated,
       coalesce(sum(chunks), 0) AS chunks
FROM knowledge.documents
WHERE tenant_id = :tenant_id AND deleted_at IS NULL
  AND collection_id = ANY (ARRAY(
      SELECT c.id FROM unnest(knowledge.readable_v2('search')) AS c (id)
      WHERE :collection_id::uuid IS NULL OR c.id = :collection_id::uuid))
  AND (:document_ids::uuid[] IS NULL OR id = ANY (:document_ids::uuid[]));

-- name: has_collection$
-- Whether this is a collection of the tenant.
SELECT EXISTS (SELECT FROM knowledge.collections WHERE tenant_id = :tenant_id AND id = :collection_id);

-- name: list_unknown_documents
-- Of these ids those that are no document that the reader may see.
SELECT wanted.id FROM unnest(:document_ids::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM knowledge.documents d
                  WHERE d.id = wanted.id AND d.tenant_id = :tenant_id AND d.status <> 'receiving' AND d.deleted_at IS NULL);

-- name: list_unknown_collections
-- Of these ids those that are no collection that the reader may see.
SELECT wanted.id FROM unnest(:collection_ids::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM knowledge.collections c WHERE c.id = wanted.id AND c.tenant_id = :tenant_id);

-- name: list_document_names
-- What these documents are called, as far as the reader may see them.
SELECT d.id, d.title, d.filename
FROM unnest(:document_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL knowledge.live_document_v1(:tenant_id, wanted.id) d;

-- name: list_deleted_documents
-- Of these ids those that are no document of the tenant any more, whoever may see it.
SELECT id FROM knowledge.deleted_documents_v1(:document_ids::uuid[]) AS gone (id);
