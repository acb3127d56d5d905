-- The queue in the documents' rows, and what a worker writes (roles: ingest, ingest_system).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.

-- name: claim_document^
-- Take the fairest claimable document: of the tenant with the fewest running documents the oldest one.
WITH RECURSIVE
living AS MATERIALIZED (
    SELECT knowledge.living_v1(:lock_class, :restart_grace::interval) AS workers
),
running AS MATERIALIZED (
    SELECT d.id, d.tenant_id, d.queued_at,
           d.lease_expires_at > now() AND d.worker_id::bigint <@ (SELECT l.workers FROM living l) AS is_alive
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
               AND (d.lease_expires_at <= now() OR NOT d.worker_id::bigint <@ (SELECT l.workers FROM living l))))
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
          d.size_bytes, d.sha256, d.blob_key, d.uploaded_by, d.uploaded_with, d.lease_expires_at, d.claim_token,
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
WITH exhausted AS MATERIALIZED (
    SELECT d.id FROM knowledge.documents d
    WHERE d.deleted_at IS NULL AND d.attempts >= :max_attempts
      AND (d.status = 'queued'
           OR (d.status = 'processing'
               AND (d.lease_expires_at <= now()
                    OR NOT d.worker_id::bigint <@ (SELECT knowledge.living_v1(:lock_class, :restart_grace::interval)))))
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
RETURNING d.id, d.tenant_id, d.collection_id, d.uploaded_by, d.uploaded_with, d.sha256, d.size_bytes, d.media_type, d.attempts,
          d.queued_at AS waiting_since;

-- name: requeue_given_up^
-- Queue a document that was given up after all its attempts as if it were new.
WITH given_up AS MATERIALIZED (
    SELECT d.tenant_id, d.id FROM knowledge.documents d
    WHERE d.id = :document_id AND d.status = 'failed' AND d.deleted_at IS NULL
      AND d.error_code IN ('embedding_unavailable', 'ingest_failed', 'worker_crashed')
    FOR NO KEY UPDATE
)
SELECT q.id FROM given_up g CROSS JOIN LATERAL knowledge.requeue_v1(g.tenant_id, g.id) q;

-- name: end_waits
-- Let postponed documents be taken at once.
UPDATE knowledge.documents
SET not_before = now(), error_code = NULL, error_detail = NULL, updated_at = now()
WHERE status = 'queued' AND deleted_at IS NULL AND not_before > now()
  AND (:tenant_id::bigint IS NULL OR tenant_id = :tenant_id::bigint)
RETURNING id;

-- name: list_waiting
-- Documents that could have been claimed for a while and were not.
SELECT d.id, d.tenant_id, d.collection_id, d.uploaded_by, d.uploaded_with, d.sha256, d.size_bytes, d.media_type, d.attempts,
       greatest(d.queued_at, d.not_before) AS waiting_since
FROM knowledge.documents d
WHERE d.deleted_at IS NULL
  AND ((d.status = 'queued' AND greatest(d.queued_at, d.not_before) <= now() - :older_than::interval)
       OR (d.status = 'processing'
           AND (d.lease_expires_at <= now()
                OR NOT d.worker_id::bigint <@ (SELECT knowledge.living_v1(:lock_class, :restart_grace::interval)))))
ORDER BY d.queued_at
LIMIT :row_limit;

-- name: bury_abandoned
-- Leave tombstones of uploads whose file never came: their gateway was killed.
UPDATE knowledge.documents SET deleted_at = now(), updated_at = now()
WHERE status = 'receiving' AND deleted_at IS NULL AND updated_at <= now() - :older_than::interval
RETURNING id;

-- name: list_tombstones
-- Deleted documents whose blob was not confirmed gone.
SELECT id, tenant_id, blob_key FROM knowledge.documents
WHERE deleted_at <= now() - :older_than::interval
ORDER BY updated_at
LIMIT :row_limit;

-- name: postpone_purge!
-- Put a tombstone whose blob could not be deleted behind the others.
UPDATE knowledge.documents SET updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND deleted_at IS NOT NULL;

-- name: purge_document!
-- Take a tombstone away.
DELETE FROM knowledge.documents WHERE tenant_id = :tenant_id AND id = :document_id AND deleted_at IS NOT NULL;

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

-- name: insert_chunks!
-- Store chunks and their vectors; words are stemmed for each chunk's language.
WITH drafts AS MATERIALIZED (
    SELECT d.id, d.ordinal, d.page, d.page_to, d.char_start, d.char_end, d.token_count, d.language, d.heading, d.text, d.embedding,
           to_tsvector(knowledge.text_config(d.language), d.search_key) AS search_vector
    FROM unnest(
        :ids::uuid[], :ordinals::integer[], :pages::integer[], :pages_to::integer[], :starts::integer[], :ends::integer[],
        :token_counts::integer[], :languages::text[], :headings::text[], :texts::text[], :search_keys::text[], :embeddings::halfvec[]
    ) AS d (id, ordinal, page, page_to, char_start, char_end, token_count, language, heading, text, search_key, embedding)
),
stored AS (
    INSERT INTO knowledge.chunks (id, tenant_id, document_id, collection_id, generation, ordinal, page, page_to,
                                  char_start, char_end, token_count, term_count, language, heading, text,
                                  search_vector)
    SELECT d.id, :tenant_id, :document_id, :collection_id, :generation, d.ordinal, d.page, d.page_to,
           d.char_start, d.char_end, d.token_count, length(d.search_vector), d.language, d.heading, d.text, d.search_vector
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

-- name: find_space_of_generation$
-- The space of a generation's vectors; null when it has none.
SELECT space_id FROM knowledge.chunk_vectors
WHERE tenant_id = :tenant_id AND document_id = :document_id AND generation = :generation LIMIT 1;

-- name: set_ready^
-- The swap: the claim's generation is the live one from here on. Gives what was live before.
UPDATE knowledge.documents d
SET status = 'ready', generation = :generation, pages = :pages, pages_done = :pages, chunks = :chunks, term_total = :terms,
    space_id = :space_id, pages_unread = :pages_unread, warnings = :warnings, info = :info::text::jsonb,
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

-- name: count_outdated$
-- Live documents, of all tenants, whose vectors are of another space than the present one.
SELECT count(*) FROM knowledge.documents
WHERE generation > 0 AND deleted_at IS NULL AND status IN ('ready', 'failed')
  AND space_id <> (SELECT id FROM knowledge.embedding_spaces WHERE is_current);

-- name: queue_outdated
-- Queue them, oldest first; what is live of them stays so until it is replaced.
WITH outdated AS MATERIALIZED (
    SELECT d.tenant_id, d.id FROM knowledge.documents d
    WHERE d.generation > 0 AND d.deleted_at IS NULL AND d.status IN ('ready', 'failed')
      AND d.space_id <> (SELECT s.id FROM knowledge.embedding_spaces s WHERE s.is_current)
      AND (:tenant_id::bigint IS NULL OR d.tenant_id = :tenant_id::bigint)
    ORDER BY d.id LIMIT :row_limit
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT q.id, q.tenant_id, q.collection_id, q.uploaded_by, q.uploaded_with, q.sha256, q.size_bytes, q.media_type, q.attempts,
       q.queued_at AS waiting_since
FROM outdated o CROSS JOIN LATERAL knowledge.requeue_v1(o.tenant_id, o.id) q;

-- name: list_uploaded_before
-- Documents of a tenant that were uploaded before a moment.
SELECT id FROM knowledge.documents
WHERE tenant_id = :tenant_id AND created_at < :before AND status <> 'receiving' AND deleted_at IS NULL
ORDER BY id LIMIT :row_limit;

-- name: document_exists$
-- Whether the document is there and not deleted.
SELECT EXISTS (SELECT FROM knowledge.documents WHERE tenant_id = :tenant_id AND id = :document_id AND deleted_at IS NULL);

-- name: worker_is_alive$
-- Whether a worker holds its sign of life.
SELECT :worker_id::bigint <@ knowledge.living_v1(:lock_class, :restart_grace::interval);
