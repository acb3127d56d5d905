-- All SQL on schema `knowledge` that services run. tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.

-- name: find_default_collection^
-- The tenant's default collection.
SELECT c.id, c.tenant_id, c.name, c.is_default, c.chunk_count, c.created_at,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.deleted_at IS NULL) AS document_count
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.is_default;

-- name: find_collection^
-- One collection.
SELECT c.id, c.tenant_id, c.name, c.is_default, c.chunk_count, c.created_at,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.deleted_at IS NULL) AS document_count
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.id = :collection_id;

-- name: insert_default_collection!
-- Make the default collection unless there is one.
INSERT INTO knowledge.collections (id, tenant_id, name, is_default)
VALUES (:collection_id, :tenant_id, 'Documents', true)
ON CONFLICT (tenant_id) WHERE is_default DO NOTHING;

-- name: insert_document^
-- A queued document, unless the collection holds its content already; gives its id when it was stored.
INSERT INTO knowledge.documents
    (id, tenant_id, collection_id, title, filename, media_type, size_bytes, sha256, blob_key, uploaded_by)
VALUES (:id, :tenant_id, :collection_id, :title, :filename, :media_type, :size_bytes, :sha256, :blob_key, :uploaded_by)
ON CONFLICT (tenant_id, collection_id, sha256) WHERE deleted_at IS NULL DO NOTHING
RETURNING id;

-- name: find_document_by_content^
-- The id of the live document with this content.
SELECT id FROM knowledge.documents
WHERE tenant_id = :tenant_id AND collection_id = :collection_id AND sha256 = :sha256 AND deleted_at IS NULL;

-- name: list_documents
-- A page of documents, newest first, with their place in the tenant's queue.
WITH page AS MATERIALIZED (
    SELECT d.*
    FROM knowledge.documents d
    WHERE d.tenant_id = :tenant_id AND d.deleted_at IS NULL
      AND (:before::uuid IS NULL OR d.id < :before::uuid)
      AND (:status::text IS NULL OR d.status = :status::text)
      AND (:collection_id::uuid IS NULL OR d.collection_id = :collection_id::uuid)
      AND (:title_contains::text IS NULL
           OR strpos(lower(d.title), lower(:title_contains::text)) > 0
           OR strpos(lower(d.filename), lower(:title_contains::text)) > 0)
    ORDER BY d.id DESC
    LIMIT :page_size
)
SELECT p.*, q.queue_position, pace.seconds_each, pace.running,
       extract(epoch FROM now() - p.claimed_at)::float8 AS running_seconds
FROM page p
-- the place is counted only for what waits
LEFT JOIN LATERAL (
    SELECT count(*) + 1 AS queue_position FROM knowledge.documents ahead
    WHERE p.status = 'queued' AND ahead.tenant_id = p.tenant_id AND ahead.status = 'queued' AND ahead.deleted_at IS NULL
      AND (ahead.queued_at, ahead.id) < (p.queued_at, p.id)
) q ON p.status = 'queued'
-- what the tenant's last documents took
LEFT JOIN LATERAL (
    SELECT (SELECT avg(recent.processing_seconds)::float8
            FROM (SELECT r.processing_seconds FROM knowledge.documents r
                  WHERE r.tenant_id = p.tenant_id AND r.status = 'ready' AND r.deleted_at IS NULL
                  ORDER BY r.ready_at DESC LIMIT 20) recent) AS seconds_each,
           (SELECT count(*) FROM knowledge.documents r
            WHERE r.tenant_id = p.tenant_id AND r.status = 'processing' AND r.deleted_at IS NULL) AS running
) pace ON p.status IN ('queued', 'processing')
ORDER BY p.id DESC;

-- name: find_document^
-- One document, with its place in the tenant's queue.
SELECT p.*, q.queue_position, pace.seconds_each, pace.running,
       extract(epoch FROM now() - p.claimed_at)::float8 AS running_seconds
FROM knowledge.documents p
LEFT JOIN LATERAL (
    SELECT count(*) + 1 AS queue_position FROM knowledge.documents ahead
    WHERE p.status = 'queued' AND ahead.tenant_id = p.tenant_id AND ahead.status = 'queued' AND ahead.deleted_at IS NULL
      AND (ahead.queued_at, ahead.id) < (p.queued_at, p.id)
) q ON p.status = 'queued'
LEFT JOIN LATERAL (
    SELECT (SELECT avg(recent.processing_seconds)::float8
            FROM (SELECT r.processing_seconds FROM knowledge.documents r
                  WHERE r.tenant_id = p.tenant_id AND r.status = 'ready' AND r.deleted_at IS NULL
                  ORDER BY r.ready_at DESC LIMIT 20) recent) AS seconds_each,
           (SELECT count(*) FROM knowledge.documents r
            WHERE r.tenant_id = p.tenant_id AND r.status = 'processing' AND r.deleted_at IS NULL) AS running
) pace ON p.status IN ('queued', 'processing')
WHERE p.tenant_id = :tenant_id AND p.id = :document_id AND p.deleted_at IS NULL;

-- name: measure_holdings^
-- What the tenant has stored.
SELECT count(*) AS documents, coalesce(sum(pages), 0) AS pages, coalesce(sum(size_bytes), 0) AS size_bytes
FROM knowledge.documents
WHERE tenant_id = :tenant_id AND deleted_at IS NULL;

-- name: retry_document^
-- Queue a failed document as if it were new.
UPDATE knowledge.documents
SET status = 'queued', attempts = 0, queued_at = now(), not_before = now(), pages_done = 0,
    error_code = NULL, error_detail = NULL, retryable = NULL, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND status = 'failed' AND deleted_at IS NULL
RETURNING id;

-- name: bury_document^
-- Leave a tombstone, which no worker can write under: its claim is gone. Gives what the collection loses.
UPDATE knowledge.documents d
SET deleted_at = now(), updated_at = now(), claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL,
    status = CASE WHEN d.status = 'processing' THEN 'queued' ELSE d.status END
WHERE d.tenant_id = :tenant_id AND d.id = :document_id AND d.deleted_at IS NULL
RETURNING d.id, d.collection_id, d.deleted_at, d.blob_key, d.chunks, d.term_total;

-- name: delete_chunks$
-- Delete all chunks of a document, vectors with them; gives how many.
WITH gone AS (
    DELETE FROM knowledge.chunks WHERE tenant_id = :tenant_id AND document_id = :document_id RETURNING id
)
SELECT count(*) FROM gone;

-- name: grow_collection!
-- Add to (or take from) a collection's counts.
UPDATE knowledge.collections
SET chunk_count = chunk_count + :chunks, term_total = term_total + :terms
WHERE tenant_id = :tenant_id AND id = :collection_id;

-- name: purge_document!
-- Take a tombstone away.
DELETE FROM knowledge.documents WHERE tenant_id = :tenant_id AND id = :document_id AND deleted_at IS NOT NULL;

-- name: claim_document^
-- Take the fairest claimable document: of the tenant with the fewest running documents the oldest one.
WITH RECURSIVE
-- workers whose session holds its lock; locks do not survive a restart of the server, so for a moment after one all count as alive
alive AS MATERIALIZED (
    SELECT objid::bigint AS worker_id FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :lock_class::oid AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
running AS MATERIALIZED (
    SELECT d.id, d.tenant_id, d.queued_at,
           d.lease_expires_at > now()
           AND (EXISTS (SELECT FROM alive a WHERE a.worker_id = d.worker_id)
                OR now() - pg_postmaster_start_time() < :restart_grace::interval) AS is_alive
    FROM knowledge.documents d
    WHERE d.status = 'processing' AND d.deleted_at IS NULL
),
load AS MATERIALIZED (
    SELECT tenant_id, count(*) AS running FROM running WHERE is_alive GROUP BY tenant_id
),
-- the tenants that wait, one index probe each, however long their queues
waiting AS (
    (SELECT d.tenant_id FROM knowledge.documents d WHERE d.status = 'queued' AND d.deleted_at IS NULL
     ORDER BY d.tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.tenant_id FROM knowledge.documents d
            WHERE d.status = 'queued' AND d.deleted_at IS NULL AND d.tenant_id > w.tenant_id
            ORDER BY d.tenant_id LIMIT 1)
    FROM waiting w WHERE w.tenant_id IS NOT NULL
),
-- each tenant's oldest few, so that workers that claim at once need not wait for one another
heads AS MATERIALIZED (
    SELECT h.id, h.tenant_id, h.queued_at
    FROM waiting w
    CROSS JOIN LATERAL (
        SELECT d.id, d.tenant_id, d.queued_at FROM knowledge.documents d
        WHERE d.tenant_id = w.tenant_id AND d.status = 'queued' AND d.deleted_at IS NULL AND d.not_before <= now()
        ORDER BY d.queued_at, d.id LIMIT 32
    ) h
    WHERE w.tenant_id IS NOT NULL
    UNION ALL
    SELECT r.id, r.tenant_id, r.queued_at FROM running r WHERE NOT r.is_alive
),
fair AS MATERIALIZED (
    SELECT h.id, h.queued_at,
           coalesce(l.running, 0) + row_number() OVER (PARTITION BY h.tenant_id ORDER BY h.queued_at, h.id) AS turn
    FROM heads h LEFT JOIN load l USING (tenant_id)
),
chosen AS MATERIALIZED (
    SELECT d.id
    FROM fair f JOIN knowledge.documents d ON d.id = f.id
    -- asked again of the locked row: it may have changed since the snapshot
    WHERE d.deleted_at IS NULL AND d.attempts < :max_attempts
      AND (d.status = 'queued'
           OR (d.status = 'processing'
               AND (d.lease_expires_at <= now() OR NOT EXISTS (SELECT FROM alive a WHERE a.worker_id = d.worker_id))))
    ORDER BY f.turn, f.queued_at, f.id
    LIMIT 1
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE knowledge.documents d
SET status = 'processing', claim_token = :token, worker_id = :worker_id, claimed_at = now(),
    lease_expires_at = now() + :lease::interval, attempts = d.attempts + 1, draft_recipe = :recipe,
    error_code = NULL, error_detail = NULL, retryable = NULL, updated_at = now()
FROM chosen c JOIN knowledge.documents before ON before.id = c.id
WHERE d.id = c.id
RETURNING d.id, d.tenant_id, d.collection_id, d.generation + 1 AS generation, d.attempts, d.title, d.filename, d.media_type,
          d.size_bytes, d.sha256, d.blob_key, d.uploaded_by, d.lease_expires_at, d.claim_token,
          before.draft_recipe IS DISTINCT FROM :recipe AS draft_is_stale;

-- name: find_last_ordinal$
-- The last stored ordinal of a generation, -1 when it has none.
SELECT coalesce(max(ordinal), -1) FROM knowledge.chunks
WHERE tenant_id = :tenant_id AND document_id = :document_id AND generation = :generation;

-- name: delete_generation!
-- Drop one generation of a document.
DELETE FROM knowledge.chunks
WHERE tenant_id = :tenant_id AND document_id = :document_id AND generation = :generation;

-- name: fail_exhausted
-- Fail what was tried often enough and whose worker is gone again.
WITH alive AS MATERIALIZED (
    SELECT objid::bigint AS worker_id FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :lock_class::oid AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
exhausted AS MATERIALIZED (
    SELECT d.id FROM knowledge.documents d
    WHERE d.deleted_at IS NULL AND d.attempts >= :max_attempts
      AND (d.status = 'queued'
           OR (d.status = 'processing'
               AND (d.lease_expires_at <= now()
                    OR (NOT EXISTS (SELECT FROM alive a WHERE a.worker_id = d.worker_id)
                        AND now() - pg_postmaster_start_time() >= :restart_grace::interval))))
    FOR UPDATE SKIP LOCKED
),
-- the unfinished generation goes, what was live stays
dropped AS (
    DELETE FROM knowledge.chunks c USING knowledge.documents d, exhausted e
    WHERE d.id = e.id AND c.document_id = d.id AND c.generation > d.generation
)
UPDATE knowledge.documents d
SET status = 'failed', claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL,
    error_code = 'worker_crashed', error_detail = :detail, retryable = true, updated_at = now()
FROM exhausted e
WHERE d.id = e.id
RETURNING d.id, d.tenant_id, d.collection_id, d.uploaded_by, d.sha256, d.size_bytes, d.media_type, d.attempts,
          d.queued_at AS waiting_since;

-- name: requeue_failed
-- Queue failed documents as if they were new: one, whatever it failed for, or those whose reason may have passed.
UPDATE knowledge.documents
SET status = 'queued', attempts = 0, queued_at = now(), not_before = now(), pages_done = 0,
    error_code = NULL, error_detail = NULL, retryable = NULL, updated_at = now()
WHERE id IN (SELECT id FROM knowledge.documents
             WHERE status = 'failed' AND deleted_at IS NULL
               AND (id = :document_id OR (:document_id::uuid IS NULL AND retryable))
             ORDER BY updated_at LIMIT :row_limit
             FOR UPDATE SKIP LOCKED)
RETURNING id, tenant_id, collection_id, uploaded_by, sha256, size_bytes, media_type, attempts, queued_at AS waiting_since;

-- name: list_waiting
-- Documents that could have been claimed for a while and were not.
WITH alive AS MATERIALIZED (
    SELECT objid::bigint AS worker_id FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :lock_class::oid AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT d.id, d.tenant_id, d.collection_id, d.uploaded_by, d.sha256, d.size_bytes, d.media_type, d.attempts,
       greatest(d.queued_at, d.not_before) AS waiting_since
FROM knowledge.documents d
WHERE d.deleted_at IS NULL
  AND ((d.status = 'queued' AND greatest(d.queued_at, d.not_before) <= now() - :older_than::interval)
       OR (d.status = 'processing'
           AND (d.lease_expires_at <= now()
                OR (NOT EXISTS (SELECT FROM alive a WHERE a.worker_id = d.worker_id)
                    AND now() - pg_postmaster_start_time() >= :restart_grace::interval))))
ORDER BY d.queued_at
LIMIT :row_limit;

-- name: list_tombstones
-- Deleted documents whose blob was not confirmed gone.
SELECT id, tenant_id, blob_key FROM knowledge.documents
WHERE deleted_at <= now() - :older_than::interval
ORDER BY deleted_at
LIMIT :row_limit;

-- name: measure_queue^
-- The ingest queue as a whole.
SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
       count(*) FILTER (WHERE status = 'processing') AS processing,
       coalesce(now() - min(greatest(queued_at, not_before)) FILTER (WHERE status = 'queued' AND not_before <= now()),
                interval '0') AS oldest_age
FROM knowledge.documents
WHERE status IN ('queued', 'processing') AND deleted_at IS NULL;

-- name: lock_claim^
-- Hold the document's row, if the claim is still good, until the transaction ends.
SELECT generation + 1 AS generation FROM knowledge.documents
WHERE tenant_id = :tenant_id AND id = :document_id AND claim_token = :token AND deleted_at IS NULL
FOR NO KEY UPDATE;

-- name: renew_claim^
-- The heartbeat.
UPDATE knowledge.documents SET lease_expires_at = now() + :lease::interval
WHERE tenant_id = :tenant_id AND id = :document_id AND claim_token = :token AND deleted_at IS NULL
RETURNING id;

-- name: record_progress^
-- Pages known and done; what is not given stays.
UPDATE knowledge.documents
SET pages = coalesce(:pages::integer, pages), pages_done = coalesce(:pages_done::integer, pages_done), updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND claim_token = :token AND deleted_at IS NULL
RETURNING id;

-- name: find_space$
-- The id of an embedding space.
SELECT id FROM knowledge.embedding_spaces WHERE provider = :provider AND model = :model AND dimension = :dimension;

-- name: insert_chunks!
-- Store chunks and their vectors; words are stemmed for each chunk's language.
WITH drafts AS MATERIALIZED (
    SELECT d.*, to_tsvector(knowledge.text_config(d.language), d.search_key) AS search_vector
    FROM unnest(
        :ids::uuid[], :ordinals::integer[], :pages::integer[], :pages_to::integer[], :starts::integer[], :ends::integer[],
        :token_counts::integer[], :languages::text[], :texts::text[], :search_keys::text[], :embeddings::halfvec[]
    ) AS d (id, ordinal, page, page_to, char_start, char_end, token_count, language, text, search_key, embedding)
),
stored AS (
    INSERT INTO knowledge.chunks (id, tenant_id, document_id, collection_id, generation, ordinal, page, page_to,
                                  char_start, char_end, token_count, term_count, language, text, search_vector)
    SELECT d.id, :tenant_id, :document_id, :collection_id, :generation, d.ordinal, d.page, d.page_to,
           d.char_start, d.char_end, d.token_count, length(d.search_vector), d.language, d.text, d.search_vector
    FROM drafts d
)
INSERT INTO knowledge.chunk_vectors (chunk_id, tenant_id, document_id, collection_id, generation, space_id, embedding)
SELECT d.id, :tenant_id, :document_id, :collection_id, :generation, :space_id, d.embedding
FROM drafts d;

-- name: delete_other_generations$
-- Drop all generations of a document but one; gives how many chunks went.
WITH gone AS (
    DELETE FROM knowledge.chunks
    WHERE tenant_id = :tenant_id AND document_id = :document_id AND generation <> :generation
    RETURNING id
)
SELECT count(*) FROM gone;

-- name: measure_generation^
-- Size and languages of one generation.
SELECT count(*) AS chunks, coalesce(sum(token_count), 0) AS tokens, coalesce(sum(term_count), 0) AS terms,
       coalesce(array_agg(DISTINCT coalesce(language, '')), '{}') AS languages
FROM knowledge.chunks
WHERE tenant_id = :tenant_id AND document_id = :document_id AND generation = :generation;

-- name: set_ready^
-- The swap: the claim's generation is the live one from here on. Gives what was live before.
UPDATE knowledge.documents d
SET status = 'ready', generation = :generation, pages = :pages, pages_done = :pages, chunks = :chunks, term_total = :terms,
    draft_recipe = NULL, claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL, not_before = now(),
    processing_seconds = extract(epoch FROM clock_timestamp() - d.claimed_at), ready_at = now(), updated_at = now()
FROM knowledge.documents before
WHERE d.tenant_id = :tenant_id AND d.id = :document_id AND d.claim_token = :token AND d.deleted_at IS NULL AND before.id = d.id
RETURNING before.chunks AS chunks_before, before.term_total AS terms_before;

-- name: extend_collection!
-- Count what a swap changed, last in its transaction so that the tenant's other swaps wait for it least.
UPDATE knowledge.collections
SET chunk_count = chunk_count + :chunks, term_total = term_total + :terms,
    languages = CASE WHEN languages @> :languages::text[] THEN languages
                     ELSE (SELECT array_agg(DISTINCT l) FROM unnest(languages || :languages::text[]) l) END
WHERE tenant_id = :tenant_id AND id = :collection_id;

-- name: set_failed^
-- Give up on the document.
UPDATE knowledge.documents
SET status = 'failed', draft_recipe = NULL, claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL,
    error_code = :code, error_detail = :detail, retryable = :retryable, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND claim_token = :token AND deleted_at IS NULL
RETURNING id;

-- name: requeue_document^
-- Give the document back; the unfinished generation stays, to be continued.
UPDATE knowledge.documents
SET status = 'queued', claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL,
    not_before = now() + :delay::interval, attempts = attempts - CASE WHEN :spends_attempt::boolean THEN 0 ELSE 1 END,
    error_code = :code, error_detail = :detail, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND claim_token = :token AND deleted_at IS NULL
RETURNING id;

-- name: document_exists$
-- Whether the document is there and not deleted.
SELECT EXISTS (SELECT FROM knowledge.documents WHERE tenant_id = :tenant_id AND id = :document_id AND deleted_at IS NULL);

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
    SELECT c.*
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
SELECT v.chunk_id, 1 - (v.embedding <=> :query::real[]::halfvec) AS similarity
FROM knowledge.chunk_vectors v
JOIN knowledge.documents d ON d.id = v.document_id AND d.generation = v.generation AND d.deleted_at IS NULL
WHERE v.tenant_id = :tenant_id AND v.space_id = :space_id
  AND (:collection_id::uuid IS NULL OR v.collection_id = :collection_id::uuid)
ORDER BY v.embedding <=> :query::real[]::halfvec
LIMIT :row_limit;

-- name: rank_documents_by_vector_exactly
-- The nearest chunks of some documents, by their index.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::real[]::halfvec) AS similarity
FROM knowledge.documents d
JOIN knowledge.chunk_vectors v ON v.document_id = d.id AND v.generation = d.generation
WHERE d.tenant_id = :tenant_id AND d.id = ANY (:document_ids::uuid[]) AND d.deleted_at IS NULL
  AND v.tenant_id = :tenant_id AND v.space_id = :space_id
  AND (:collection_id::uuid IS NULL OR v.collection_id = :collection_id::uuid)
ORDER BY v.embedding <=> :query::real[]::halfvec
LIMIT :row_limit;

-- name: rank_by_vector_index
-- The nearest chunks by the space's HNSW index.
SELECT chunk_id, similarity FROM knowledge.nearest_chunks(:space_id, :dimension, :query::real[], :collection_id::uuid, :row_limit)
ORDER BY similarity DESC;

-- name: list_word_positions
-- Where the query's words stand in these chunks.
SELECT c.id AS chunk_id, c.term_count, word.lexeme, word.positions
FROM knowledge.chunks c
CROSS JOIN LATERAL unnest(c.search_vector) AS word
WHERE c.tenant_id = :tenant_id AND c.id = ANY (:chunk_ids::uuid[]) AND word.lexeme = ANY (:lexemes::text[]);

-- name: list_similarities
-- The similarity of chunks that only their words found; OFFSET 0: one probe of the primary key each.
SELECT v.chunk_id, 1 - (v.embedding <=> :query::real[]::halfvec) AS similarity
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
