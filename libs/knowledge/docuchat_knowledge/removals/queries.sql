-- What a user who was removed leaves (role: ingest; list_left: ingest_system).
-- tenant_id stands first in every condition although row-level security would do.

-- name: list_left
-- Removed users of all tenants under whose id something is found, and those of whom it is not told what went: for so
-- long their event may be at work.
SELECT r.tenant_id, r.user_id, r.key_ids, r.hand_over_to, r.is_erasure
FROM knowledge.removed_users r
WHERE EXISTS (SELECT FROM knowledge.documents d
              WHERE d.tenant_id = r.tenant_id AND d.uploaded_by = r.user_id AND d.deleted_at IS NULL AND d.status <> 'receiving')
   OR EXISTS (SELECT FROM knowledge.collection_members m
              WHERE m.tenant_id = r.tenant_id AND m.member_id = ANY (r.user_id || r.key_ids))
   OR EXISTS (SELECT FROM knowledge.collections c WHERE c.tenant_id = r.tenant_id AND c.created_by = r.user_id)
   OR EXISTS (SELECT FROM knowledge.collections c
              WHERE c.id = r.user_id AND c.tenant_id = r.tenant_id AND c.kind = 'attachments')
   OR (r.is_erasure AND r.told_at IS NULL AND r.removed_at < now() - interval '15 minutes')
ORDER BY r.removed_at
LIMIT :row_limit;

-- name: hand_documents_over
-- Some of the user's documents become the heir's; one that the heir has as well stays, and so does what was attached to a chat,
-- which goes with the user: it stands in a collection that has the user's id.
WITH theirs AS MATERIALIZED (
    SELECT d.id FROM knowledge.documents d
    WHERE d.tenant_id = :tenant_id AND d.uploaded_by = :user_id AND d.deleted_at IS NULL AND d.status <> 'receiving'
      AND d.collection_id <> :user_id
      AND NOT EXISTS (SELECT FROM knowledge.documents o
                      WHERE o.tenant_id = d.tenant_id AND o.collection_id = d.collection_id AND o.sha256 = d.sha256
                        AND o.uploaded_by = :heir AND o.deleted_at IS NULL AND o.status <> 'receiving')
    ORDER BY d.id LIMIT :row_limit
    FOR NO KEY UPDATE
)
UPDATE knowledge.documents d SET uploaded_by = :heir
FROM theirs t
WHERE d.tenant_id = :tenant_id AND d.id = t.id
RETURNING d.id;

-- name: list_documents_of
-- Some of the user's documents.
SELECT d.id FROM knowledge.documents d
WHERE d.tenant_id = :tenant_id AND d.uploaded_by = :user_id AND d.deleted_at IS NULL AND d.status <> 'receiving'
ORDER BY d.id
LIMIT :row_limit;

-- name: hand_collections_over!
-- Who manages what the user made.
INSERT INTO knowledge.collection_members (collection_id, member_id, tenant_id, access)
SELECT c.id, :heir, c.tenant_id, 'manage' FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.created_by = :user_id AND NOT c.is_default
ON CONFLICT ON CONSTRAINT collection_members_key DO UPDATE SET access = excluded.access;

-- name: rename_maker!
-- Who made the user's collections: the heir, or nobody who is there.
UPDATE knowledge.collections SET created_by = :heir WHERE tenant_id = :tenant_id AND created_by = :user_id;

-- name: end_memberships!
-- What was shown to the user by name is so no more.
DELETE FROM knowledge.collection_members WHERE tenant_id = :tenant_id AND member_id = ANY (:member_ids::uuid[]);

-- name: delete_attachments!
-- The collection of the user's attachments, once it is empty.
DELETE FROM knowledge.collections c
WHERE c.id = :user_id AND c.tenant_id = :tenant_id AND c.kind = 'attachments'
  AND NOT EXISTS (SELECT FROM knowledge.documents d
                  WHERE d.tenant_id = :tenant_id AND d.collection_id = c.id AND d.deleted_at IS NULL);
