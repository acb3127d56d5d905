-- Documents as their owners see them (role: gateway).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.

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
