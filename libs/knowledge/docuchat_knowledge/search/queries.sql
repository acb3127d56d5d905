-- Search (role: chat; select only).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.

-- name: measure_tenant^
-- Size, mean length and languages of what the tenant can search; and for this transaction, how far the vector index
-- searches, and that it goes on while the tenant's filter leaves too little: set here, since it costs no round trip.
SELECT coalesce(sum(chunk_count), 0)::bigint AS chunks, coalesce(sum(term_total), 0)::bigint AS terms,
       coalesce((SELECT array_agg(DISTINCT l) FROM knowledge.collections k, unnest(k.languages) l
                 WHERE k.tenant_id = :tenant_id), '{}') AS languages,
       set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', :ef_search::text, true)
FROM knowledge.collections
WHERE tenant_id = :tenant_id;

-- name: analyze_query
-- The query's words as each language's chunks have them: (position, language, lexeme). English tells stop words for all.
SELECT language.code AS language, word.lexeme, word.positions
FROM unnest(:languages::text[], :search_keys::text[]) AS language (code, search_key)
CROSS JOIN LATERAL unnest(to_tsvector(knowledge.text_config(language.code), language.search_key)) AS word;

-- name: count_terms
-- How many of the tenant's chunks have each word, counted no further than the cap.
SELECT lexeme, chunk_count FROM knowledge.count_terms(:lexemes::text[], :cap);

-- name: count_terms_in_sample
-- How many of the tenant's newest chunks have each word: for words too common to count. The first row is the sample's size.
WITH sample AS MATERIALIZED (
    SELECT search_vector FROM knowledge.chunks WHERE tenant_id = :tenant_id ORDER BY id DESC LIMIT :sample_size
)
SELECT q.lexeme, (SELECT count(*) FROM sample) AS sample_size,
       (SELECT count(*) FROM sample s WHERE s.search_vector @@ q.query::tsquery) AS chunk_count
FROM unnest(:lexemes::text[], :queries::text[]) AS q (lexeme, query);

-- name: rank_by_words
-- Okapi BM25 with k1 = 0.65, b = 0.75 over chunks that have the wanted words. ts_rank of one word is
-- (1 + 1/4 + … + 1/tf²) / 1.645, which equals saturation at k1 = 0.65; it is turned back into tf to bring the length in.
WITH found AS MATERIALIZED (
    SELECT c.id, c.document_id, c.generation, c.collection_id, c.search_vector, c.term_count
    FROM knowledge.chunks_with_terms(:wanted::text[], :all_of_them, :candidate_limit) AS hit (id)
    -- OFFSET 0: one probe of the primary key a hit, whatever a generic plan thinks of their number
    CROSS JOIN LATERAL (
        SELECT k.id, k.document_id, k.generation, k.collection_id, k.search_vector, k.term_count
        FROM knowledge.chunks k WHERE k.id = hit.id AND k.tenant_id = :tenant_id OFFSET 0
    ) c
),
candidates AS MATERIALIZED (
    SELECT c.id, c.search_vector, 0.65 * (0.25 + 0.75 * c.term_count / :mean_length::float8) AS damping
    FROM found c
    JOIN knowledge.documents d ON d.id = c.document_id AND d.generation = c.generation AND d.deleted_at IS NULL
    WHERE d.tenant_id = :tenant_id
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
    FROM knowledge.documents d
    JOIN knowledge.chunks c ON c.document_id = d.id AND c.generation = d.generation
    WHERE d.tenant_id = :tenant_id AND d.id = ANY (:document_ids::uuid[]) AND d.deleted_at IS NULL AND c.tenant_id = :tenant_id
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

-- name: rank_by_vector_exactly
-- The nearest chunks by reading all of the tenant's vectors, which for a small tenant is faster than an index and exact.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM knowledge.chunk_vectors v
JOIN knowledge.documents d ON d.id = v.document_id AND d.generation = v.generation AND d.deleted_at IS NULL
WHERE v.tenant_id = :tenant_id AND v.space_id = :space_id
  AND (:collection_id::uuid IS NULL OR v.collection_id = :collection_id::uuid)
ORDER BY v.embedding <=> :query::halfvec
LIMIT :row_limit;

-- name: rank_documents_by_vector_exactly
-- The nearest chunks of some documents, by their index.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM knowledge.documents d
JOIN knowledge.chunk_vectors v ON v.document_id = d.id AND v.generation = d.generation
WHERE d.tenant_id = :tenant_id AND d.id = ANY (:document_ids::uuid[]) AND d.deleted_at IS NULL
  AND v.tenant_id = :tenant_id AND v.space_id = :space_id
  AND (:collection_id::uuid IS NULL OR v.collection_id = :collection_id::uuid)
ORDER BY v.embedding <=> :query::halfvec
LIMIT :row_limit;

-- name: rank_by_vector_index
-- The nearest chunks by the space's HNSW index.
SELECT chunk_id, similarity FROM knowledge.nearest_chunks(:space_id, :dimension, (:query::halfvec)::real[], :collection_id::uuid, :row_limit)
ORDER BY similarity DESC;

-- name: list_word_positions
-- Where the query's words stand in these chunks.
SELECT c.id AS chunk_id, c.term_count, word.lexeme, word.positions
FROM knowledge.chunks c
CROSS JOIN LATERAL unnest(c.search_vector) AS word
WHERE c.tenant_id = :tenant_id AND c.id = ANY (:chunk_ids::uuid[]) AND word.lexeme = ANY (:lexemes::text[]);

-- name: list_similarities
-- The similarity of chunks that only their words found; OFFSET 0: one probe of the primary key each.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::halfvec) AS similarity
FROM unnest(:chunk_ids::uuid[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT k.chunk_id, k.embedding FROM knowledge.chunk_vectors k
    WHERE k.chunk_id = wanted.id AND k.tenant_id = :tenant_id AND k.space_id = :space_id OFFSET 0
) v;

-- name: list_chunks
-- Live chunks with what a citation needs.
SELECT c.id, c.document_id, c.collection_id, d.title, d.filename, c.ordinal, c.page, c.page_to, c.char_start, c.char_end,
       c.text, c.token_count
FROM knowledge.chunks c
JOIN knowledge.documents d ON d.id = c.document_id AND d.generation = c.generation AND d.deleted_at IS NULL
WHERE c.tenant_id = :tenant_id AND c.id = ANY (:chunk_ids::uuid[]);

-- name: check_readiness^
-- How many documents of the asked set are in which state; one that is re-ingested counts as ready by its live generation.
SELECT count(*) FILTER (WHERE status = 'queued' AND generation = 0) AS queued,
       count(*) FILTER (WHERE status = 'processing' AND generation = 0) AS processing,
       count(*) FILTER (WHERE generation > 0) AS ready,
       count(*) FILTER (WHERE status = 'failed' AND generation = 0) AS failed,
       coalesce(sum(chunks), 0) AS chunks
FROM knowledge.documents
WHERE tenant_id = :tenant_id AND deleted_at IS NULL
  AND (:document_ids::uuid[] IS NULL OR id = ANY (:document_ids::uuid[]))
  AND (:collection_id::uuid IS NULL OR collection_id = :collection_id::uuid);
