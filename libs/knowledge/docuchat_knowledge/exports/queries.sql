-- Exports (role: gateway; claims and sweeps: ingest_system; finishing: ingest).

-- name: insert_export^
-- One more export; nothing while one of the same kind is made.
INSERT INTO knowledge.exports (id, tenant_id, user_id, requested_by)
VALUES (:export_id, :tenant_id, :user_id, :requested_by)
ON CONFLICT (tenant_id, user_id) WHERE state IN ('queued', 'running') DO NOTHING
RETURNING id, tenant_id, user_id, requested_by, state, blob_key, size_bytes, created_at, expires_at;

-- name: find_unfinished$
-- The export of this kind that is being made.
SELECT id FROM knowledge.exports
WHERE tenant_id = :tenant_id AND user_id IS NOT DISTINCT FROM :user_id::uuid AND state IN ('queued', 'running');

-- name: find_export^
-- One export that has not expired.
SELECT id, tenant_id, user_id, requested_by, state, blob_key, size_bytes, created_at, expires_at
FROM knowledge.exports
WHERE tenant_id = :tenant_id AND id = :export_id AND (expires_at IS NULL OR expires_at > now());

-- name: list_exports
-- A page of exports, newest first: of the tenant, of one person, and those that others asked for of all people.
SELECT id, tenant_id, user_id, requested_by, state, blob_key, size_bytes, created_at, expires_at
FROM knowledge.exports
WHERE tenant_id = :tenant_id AND (expires_at IS NULL OR expires_at > now()) AND (:before::uuid IS NULL OR id < :before::uuid)
  AND CASE WHEN user_id IS NULL THEN :of_tenant::boolean ELSE user_id = :of_user::uuid OR (:of_everybody::boolean AND requested_by <> user_id) END
ORDER BY id DESC
LIMIT :page_size;

-- name: claim_export^
-- An export that waits, or whose worker is dead: the oldest of the tenant for which none was begun for the longest time.
-- A worker that asks is at none: what is its own was claimed, or not postponed, by a COMMIT that it heard nothing of.
-- What has ended its worker at each attempt is given up.
WITH living AS MATERIALIZED (
    SELECT knowledge.living_v1(:lock_class, :restart_grace::interval) AS workers
),
given_up AS (
    UPDATE knowledge.exports g
    SET state = 'failed', worker_id = NULL, expires_at = least(coalesce(g.expires_at, 'infinity'), now() + :lifetime::interval)
    WHERE g.state = 'running' AND g.attempts >= :most_attempts
      AND (g.worker_id = :worker_id OR NOT g.worker_id::bigint <@ (SELECT l.workers FROM living l))
)
UPDATE knowledge.exports e
SET state = 'running', worker_id = :worker_id, attempts = e.attempts + 1, claimed_at = now()
WHERE e.id = (
    SELECT w.id FROM knowledge.exports w
    WHERE (w.state = 'queued' AND w.not_before <= now())
       OR (w.state = 'running' AND w.attempts < :most_attempts
           AND (w.worker_id = :worker_id OR NOT w.worker_id::bigint <@ (SELECT l.workers FROM living l)))
    ORDER BY (SELECT max(o.claimed_at) FROM knowledge.exports o WHERE o.tenant_id = w.tenant_id) NULLS FIRST, w.created_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED)
RETURNING e.id, e.tenant_id, e.user_id, e.requested_by, e.attempts;

-- name: finish_export^
-- The archive is there, and is kept for a while; nothing when the claim is not good any more.
UPDATE knowledge.exports
SET state = 'ready', blob_key = :blob_key, size_bytes = :size_bytes, worker_id = NULL,
    expires_at = least(coalesce(expires_at, 'infinity'), now() + :lifetime::interval)
WHERE tenant_id = :tenant_id AND id = :export_id AND state = 'running' AND attempts = :attempt
RETURNING expires_at;

-- name: replace_older!
-- One archive of a kind is kept; what a person asked for is another kind than what others ask for about the person.
UPDATE knowledge.exports o SET expires_at = now()
FROM knowledge.exports n
WHERE n.tenant_id = :tenant_id AND n.id = :export_id
  AND o.tenant_id = n.tenant_id AND o.id <> n.id AND o.state IN ('ready', 'failed') AND o.expires_at > now()
  AND o.user_id IS NOT DISTINCT FROM n.user_id
  AND (o.requested_by = o.user_id) IS NOT DISTINCT FROM (n.requested_by = n.user_id);

-- name: postpone_export!
-- To be tried again later, or no more.
UPDATE knowledge.exports
SET state = CASE WHEN attempts < :most_attempts THEN 'queued' ELSE 'failed' END, worker_id = NULL,
    not_before = now() + least(interval '5 seconds' * 2 ^ attempts, interval '10 minutes'),
    expires_at = CASE WHEN attempts < :most_attempts THEN expires_at
                      ELSE least(coalesce(expires_at, 'infinity'), now() + :lifetime::interval) END
WHERE tenant_id = :tenant_id AND id = :export_id AND state = 'running' AND attempts = :attempt;

-- name: expire_exports_of!
-- What was exported of a person goes with the person.
UPDATE knowledge.exports SET expires_at = now()
WHERE tenant_id = :tenant_id AND user_id = :user_id AND (expires_at IS NULL OR expires_at > now());

-- name: list_expired
-- Exports whose time is over and of which nobody makes an archive just now.
SELECT id, tenant_id FROM knowledge.exports
WHERE expires_at <= now() AND state <> 'running' ORDER BY expires_at LIMIT :row_limit;

-- name: delete_export!
-- Forget an export, after its archive is gone.
DELETE FROM knowledge.exports WHERE id = :export_id;

-- name: find_readable$
-- The collections that the caller may read.
SELECT knowledge.accessible_v2('read');

-- name: list_files
-- The originals of the tenant's documents, or of one person's as far as the person may read them, by id.
SELECT d.id, d.media_type, d.blob_key FROM knowledge.documents d
WHERE d.tenant_id = :tenant_id AND d.deleted_at IS NULL AND d.status <> 'receiving'
  AND (:user_id::uuid IS NULL
       OR (d.uploaded_by = :user_id::uuid AND d.collection_id = ANY (:collection_ids::uuid[])))
  AND (:after::uuid IS NULL OR d.id > :after::uuid)
ORDER BY d.id
LIMIT :row_limit;
