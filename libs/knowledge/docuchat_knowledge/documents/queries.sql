-- Documents as their owners see them (role: gateway).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.

-- name: insert_receiving!
-- The row that stands before its file has arrived; nobody sees it.
INSERT INTO knowledge.documents
    (id, tenant_id, collection_id, title, filename, media_type, size_bytes, sha256, blob_key, uploaded_by, uploaded_with, status)
VALUES (:document_id, :tenant_id, :collection_id, '', '', :media_type, 0, '', '', :uploaded_by, :uploaded_with, 'receiving');

-- name: register_document^
-- Make a stored file a queued document; see register_v1.
SELECT document_id, created FROM knowledge.register_v1(
    :tenant_id, :id, :collection_id, :title, :filename, :media_type, :size_bytes, :sha256, :blob_key, :uploaded_by);

-- name: set_purpose!
-- Remember what a document was uploaded for.
UPDATE knowledge.documents SET purpose = :purpose WHERE tenant_id = :tenant_id AND id = :id;

-- name: abandon_receiving!
-- Leave a tombstone of a row whose file did not arrive; whoever clears the blob store takes it away.
UPDATE knowledge.documents SET deleted_at = now(), updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND status = 'receiving' AND deleted_at IS NULL;

-- name: renew_blob^
-- Give a failed document a file that was stored again.
UPDATE knowledge.documents SET blob_key = :blob_key, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :document_id AND status = 'failed' AND deleted_at IS NULL
RETURNING id;

-- name: find_document_by_content^
-- The id of the document that one uploader has of this content.
SELECT id FROM knowledge.documents
WHERE tenant_id = :tenant_id AND collection_id = :collection_id AND sha256 = :sha256
  AND uploaded_by IS NOT DISTINCT FROM :uploaded_by::uuid AND status <> 'receiving' AND deleted_at IS NULL;

-- name: list_documents
-- A page of documents, newest first, or one of them, with their place in the tenant's queue. Each collection that the reader
-- may see gives its newest: what others hold is not walked over. Attachments are listed where their collection is named.
WITH places AS MATERIALIZED (
    -- one document's; the one that is named, whose documents the reader sees or not; or all that a list is of
    SELECT d.collection_id AS id FROM knowledge.documents d
    WHERE :oldest::uuid = :newest::uuid AND d.tenant_id = :tenant_id AND d.id = :newest::uuid
    UNION ALL
    SELECT :collection_id::uuid WHERE :oldest::uuid <> :newest::uuid AND :collection_id::uuid IS NOT NULL
    UNION ALL
    SELECT c.id FROM knowledge.collections c
    WHERE :oldest::uuid <> :newest::uuid AND :collection_id::uuid IS NULL
      AND c.tenant_id = :tenant_id AND c.kind <> 'attachments'
),
page AS MATERIALIZED (
    SELECT d.*
    FROM places
    CROSS JOIN LATERAL (
        SELECT d.id, d.tenant_id, d.collection_id, d.title, d.filename, d.media_type, d.size_bytes, d.sha256, d.blob_key,
               d.status, d.pages, d.pages_done, d.pages_unread,
               d.chunks, d.generation, d.space_id, d.warnings, d.attempts, d.queued_at, d.not_before, d.claimed_at,
               -- a list goes without what only a page of the document is shown by
               CASE WHEN :oldest::uuid = :newest::uuid THEN d.info ELSE d.info - 'page_labels' END AS info,
               d.error_code, d.error_detail, d.retryable,
               d.uploaded_by, d.uploaded_with, d.purpose, d.created_at, d.updated_at, d.ready_at
        FROM knowledge.documents d
        WHERE d.tenant_id = :tenant_id AND d.collection_id = places.id AND d.deleted_at IS NULL AND d.status <> 'receiving'
          -- bounds instead of null-guards: every plan finds one document, or the next page, by the index
          AND d.id BETWEEN :oldest::uuid AND :newest::uuid AND d.id IS DISTINCT FROM :before::uuid
          AND (:status::text IS NULL OR d.status = :status::text)
          AND (:purpose::text IS NULL OR coalesce(d.purpose, 'assistants') = :purpose::text)
          AND (:title_contains::text IS NULL
               OR strpos(lower(d.title), lower(:title_contains::text)) > 0
               OR strpos(lower(d.filename), lower(:title_contains::text)) > 0)
        ORDER BY d.id DESC
        LIMIT :page_size
    ) d
    ORDER BY d.id DESC
    LIMIT :page_size
),
-- what the last documents took that the reader may see
pace AS MATERIALIZED (
    SELECT avg(recent.processing_seconds)::float8 AS seconds_each
    FROM (SELECT r.processing_seconds
          FROM knowledge.collections c
          CROSS JOIN LATERAL (
              SELECT h.processing_seconds, h.ready_at FROM knowledge.documents h
              WHERE h.tenant_id = :tenant_id AND h.collection_id = c.id AND h.status = 'ready' AND h.deleted_at IS NULL
              ORDER BY h.ready_at DESC LIMIT 20
          ) r
          WHERE c.tenant_id = :tenant_id AND c.kind <> 'attachments'
          ORDER BY r.ready_at DESC LIMIT 20) recent
)
SELECT p.id, p.tenant_id, p.collection_id, p.title, p.filename, p.media_type, p.size_bytes, p.sha256, p.blob_key, p.status,
       p.pages, p.pages_done, p.pages_unread, p.chunks, p.generation, p.warnings, p.info, p.attempts,
       p.error_code, p.error_detail, p.retryable, p.uploaded_by, p.uploaded_with, p.purpose, p.created_at, p.updated_at,
       p.ready_at,
       q.queue_position, load.seconds_each, load.running, extract(epoch FROM now() - p.claimed_at)::float8 AS running_seconds,
       p.generation > 0 AND p.space_id <> (SELECT s.id FROM knowledge.embedding_spaces s WHERE s.is_current) AS embedding_outdated,
       CASE WHEN p.status = 'queued' AND p.not_before > now() THEN p.not_before END AS waiting_until
FROM page p
-- the place is counted only for what waits
LEFT JOIN LATERAL (
    SELECT count(*) + 1 AS queue_position FROM knowledge.documents ahead
    WHERE p.status = 'queued' AND ahead.tenant_id = p.tenant_id AND ahead.status = 'queued' AND ahead.deleted_at IS NULL
      AND (ahead.queued_at, ahead.id) < (p.queued_at, p.id)
) q ON p.status = 'queued'
LEFT JOIN LATERAL (
    SELECT (SELECT e.seconds_each FROM pace e) AS seconds_each,
           (SELECT count(*) FROM knowledge.documents r
            WHERE r.tenant_id = p.tenant_id AND r.status = 'processing' AND r.deleted_at IS NULL) AS running
) load ON p.status IN ('queued', 'processing')
ORDER BY p.id DESC;

-- name: find_end_of_page$
-- The last document of a page, oldest first, of what list_documents lists. Each collection gives its oldest.
SELECT page.id
FROM (SELECT d.id
      FROM knowledge.collections c
      CROSS JOIN LATERAL (
          SELECT o.id FROM knowledge.documents o
          WHERE o.tenant_id = :tenant_id AND o.collection_id = c.id AND o.deleted_at IS NULL AND o.status <> 'receiving'
            AND o.id > :after::uuid
            AND (:purpose::text IS NULL OR coalesce(o.purpose, 'assistants') = :purpose::text)
          ORDER BY o.id
          LIMIT :page_size
      ) d
      WHERE c.tenant_id = :tenant_id AND c.kind <> 'attachments'
      ORDER BY d.id
      LIMIT :page_size) page
ORDER BY page.id DESC
LIMIT 1;

-- name: list_holdings
-- A page of what all tenants have stored, by id (role: gateway_system). Pages count once they were read.
SELECT d.id, d.tenant_id, d.uploaded_by, d.size_bytes, d.generation,
       CASE WHEN d.generation > 0 THEN coalesce(d.pages, 0) ELSE 0 END AS pages
FROM knowledge.documents d
WHERE d.status <> 'receiving' AND d.deleted_at IS NULL AND (:after::uuid IS NULL OR d.id > :after::uuid)
ORDER BY d.id
LIMIT :page_size;

-- name: retry_document^
-- Queue a failed document as if it were new.
WITH failed AS MATERIALIZED (
    SELECT d.tenant_id, d.id FROM knowledge.documents d
    WHERE d.tenant_id = :tenant_id AND d.id = :document_id AND d.status = 'failed' AND d.deleted_at IS NULL
    FOR NO KEY UPDATE
)
SELECT q.id FROM failed f CROSS JOIN LATERAL knowledge.requeue_v1(f.tenant_id, f.id) q;

-- name: bury_document^
-- Leave a tombstone, which no worker can write under: its claim is gone. Gives what the collection loses.
UPDATE knowledge.documents d
SET deleted_at = now(), updated_at = now(), claim_token = NULL, worker_id = NULL, claimed_at = NULL, lease_expires_at = NULL,
    status = CASE WHEN d.status = 'processing' THEN 'queued' ELSE d.status END
WHERE d.tenant_id = :tenant_id AND d.id = :document_id AND d.status <> 'receiving' AND d.deleted_at IS NULL
RETURNING d.collection_id, d.deleted_at, d.blob_key, d.chunks, d.term_total, d.pages, d.size_bytes, d.uploaded_by,
          d.uploaded_with;

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

-- name: read_passages
-- A live chunk and its neighbours, in order.
SELECT n.id, n.document_id, n.collection_id, d.title, d.filename, n.ordinal, n.page, n.page_to, n.char_start, n.char_end, n.text,
       n.token_count
FROM knowledge.chunks c
JOIN knowledge.documents d ON d.id = c.document_id AND d.generation = c.generation AND d.deleted_at IS NULL
JOIN knowledge.chunks n ON n.document_id = c.document_id AND n.generation = c.generation
    AND n.ordinal BETWEEN c.ordinal - :neighbours::integer AND c.ordinal + :neighbours::integer
WHERE c.tenant_id = :tenant_id AND c.id = :chunk_id AND n.tenant_id = :tenant_id
ORDER BY n.ordinal;

-- name: read_page_chunks
-- The live chunks that touch a page, in order.
SELECT c.page, c.page_to, c.char_start, c.text
FROM knowledge.documents d
JOIN knowledge.chunks c ON c.document_id = d.id AND c.generation = d.generation
WHERE d.tenant_id = :tenant_id AND d.id = :document_id AND d.deleted_at IS NULL AND c.tenant_id = :tenant_id
  AND c.page <= :page AND c.page_to >= :page
ORDER BY c.ordinal;
