-- Documents of chatbots and chats that are gone (role: ingest; list_attachments_before, list_chatbots: ingest_system).
-- tenant_id stands first in every condition although row-level security would do.

-- name: list_documents_of_chatbot
-- Some documents of a chatbot's own collection.
SELECT d.id FROM knowledge.documents d
JOIN knowledge.collections c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
WHERE d.tenant_id = :tenant_id AND d.collection_id = :chatbot_id AND c.kind = 'chatbot'
  AND d.deleted_at IS NULL AND d.status <> 'receiving'
ORDER BY d.id
LIMIT :row_limit;

-- name: lock_collection$
-- Keep documents from being added to a chatbot's own collection; whether it has any is seen by the next statements.
SELECT id FROM knowledge.collections WHERE tenant_id = :tenant_id AND id = :chatbot_id AND kind = 'chatbot' FOR UPDATE;

-- name: give_uploads_up!
-- Files that are on their way to a locked collection find no row to become a document of.
UPDATE knowledge.documents SET deleted_at = now(), updated_at = now()
WHERE tenant_id = :tenant_id AND collection_id = :chatbot_id AND status = 'receiving' AND deleted_at IS NULL;

-- name: delete_collection$
-- A locked collection goes, unless it has a document.
DELETE FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.id = :chatbot_id AND c.kind = 'chatbot'
  AND NOT EXISTS (SELECT FROM knowledge.documents d
                  WHERE d.tenant_id = :tenant_id AND d.collection_id = c.id AND d.deleted_at IS NULL)
RETURNING c.id;

-- name: list_attachments
-- Those of these documents that are attachments.
SELECT d.id FROM unnest(:document_ids::uuid[]) AS wanted (id)
JOIN knowledge.documents d ON d.tenant_id = :tenant_id AND d.id = wanted.id AND d.deleted_at IS NULL
JOIN knowledge.collections c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
WHERE c.kind = 'attachments';

-- name: list_attachments_before
-- Attachments of all tenants that were uploaded before a moment, by owner and id.
SELECT d.tenant_id, c.id AS owner_id, d.id
FROM knowledge.collections c
CROSS JOIN LATERAL (
    SELECT a.tenant_id, a.id FROM knowledge.documents a
    WHERE a.tenant_id = c.tenant_id AND a.collection_id = c.id AND a.deleted_at IS NULL AND a.status <> 'receiving'
      AND a.created_at < :before AND (c.id > :after_owner OR a.id > :after_id)
    ORDER BY a.id
    LIMIT :row_limit
) d
WHERE c.kind = 'attachments' AND c.id >= :after_owner
ORDER BY c.id, d.id
LIMIT :row_limit;

-- name: list_chatbots
-- The own collections of chatbots of all tenants, by id.
SELECT c.tenant_id, c.id FROM knowledge.collections c
WHERE c.kind = 'chatbot' AND c.id > :after
ORDER BY c.id
LIMIT :row_limit;
