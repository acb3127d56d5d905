-- Collections (role: gateway).
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.
-- What a transaction remembers of what its caller may read (readable_v2) is forgotten wherever a collection is found or made:
-- it may be younger than that, and what is done in it next must be seen.

-- name: find_collection^
-- One collection, or the tenant's default one, with what the reader may do in it.
SELECT c.id, c.tenant_id, c.name, c.kind, c.is_default, c.visibility, c.created_by, c.chunk_count, c.created_at,
       CASE WHEN c.id = ANY ((SELECT knowledge.accessible_v2('manage'))::uuid[]) THEN 'manage'
            WHEN c.id = ANY ((SELECT knowledge.accessible_v2('write'))::uuid[]) THEN 'write' ELSE 'read' END AS access,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.status <> 'receiving'
          AND d.deleted_at IS NULL) AS document_count,
       set_config('app.readable', '', true)
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND CASE WHEN :collection_id::uuid IS NULL THEN c.is_default ELSE c.id = :collection_id::uuid END;

-- name: list_collections
-- A page of the collections that the reader may see, newest first; attachments are seen beside their chats.
SELECT c.id, c.tenant_id, c.name, c.kind, c.is_default, c.visibility, c.created_by, c.chunk_count, c.created_at,
       CASE WHEN c.id = ANY ((SELECT knowledge.accessible_v2('manage'))::uuid[]) THEN 'manage'
            WHEN c.id = ANY ((SELECT knowledge.accessible_v2('write'))::uuid[]) THEN 'write' ELSE 'read' END AS access,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.status <> 'receiving'
          AND d.deleted_at IS NULL) AS document_count
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.kind <> 'attachments' AND (:before::uuid IS NULL OR c.id < :before::uuid)
ORDER BY c.id DESC
LIMIT :page_size;

-- name: insert_default_collection!
-- Make the default collection unless there is one.
INSERT INTO knowledge.collections (id, tenant_id, name, is_default)
VALUES (:collection_id, :tenant_id, 'Documents', true)
ON CONFLICT (tenant_id) WHERE is_default DO NOTHING;

-- name: count_collections$
-- How many the reader may see: all, when it is an admin who makes one more.
SELECT count(*) FROM knowledge.collections WHERE tenant_id = :tenant_id AND kind <> 'attachments';

-- name: insert_collection!
-- A new collection.
INSERT INTO knowledge.collections (id, tenant_id, name, is_default, visibility, created_by)
VALUES (:collection_id, :tenant_id, :name, false, :visibility, :created_by);

-- name: open_collection!
-- A collection that has the id of what it is of, unless it is there.
SELECT knowledge.open_collection_v1(:tenant_id, :collection_id, :kind, :name, :created_by);

-- name: update_collection$
-- Another name or visibility; what is not given stays. Nothing is returned where the caller may not write.
UPDATE knowledge.collections
SET name = coalesce(:name::text, name), visibility = coalesce(:visibility::text, visibility)
WHERE tenant_id = :tenant_id AND id = :collection_id
RETURNING id;

-- name: lock_collection$
-- Keep documents from being added; whether it has any is seen by the next statement.
SELECT id FROM knowledge.collections WHERE tenant_id = :tenant_id AND id = :collection_id FOR UPDATE;

-- name: delete_empty_collection$
-- Delete it with its members, unless it has a document; what is left of deleted ones stays without it until it is swept.
DELETE FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.id = :collection_id AND NOT c.is_default AND c.kind <> 'attachments'
  AND NOT EXISTS (SELECT FROM knowledge.documents d WHERE d.collection_id = c.id AND d.deleted_at IS NULL)
RETURNING c.id;

-- name: list_members
-- A page of a collection's members, by id.
SELECT member_id, access, created_at FROM knowledge.collection_members
WHERE tenant_id = :tenant_id AND collection_id = :collection_id AND (:after::uuid IS NULL OR member_id > :after::uuid)
ORDER BY member_id
LIMIT :page_size;

-- name: count_members_beside$
-- How many members a collection has; 0 when this one is among them, whose access may always change.
SELECT CASE WHEN bool_or(member_id = :member_id) THEN 0 ELSE count(*) END
FROM knowledge.collection_members
WHERE tenant_id = :tenant_id AND collection_id = :collection_id;

-- name: put_member^
-- A member with this access, whatever it had before.
INSERT INTO knowledge.collection_members (collection_id, member_id, tenant_id, access)
VALUES (:collection_id, :member_id, :tenant_id, :access)
ON CONFLICT ON CONSTRAINT collection_members_key DO UPDATE SET access = excluded.access
RETURNING member_id, access, created_at;

-- name: remove_member$
-- One member less.
DELETE FROM knowledge.collection_members
WHERE tenant_id = :tenant_id AND collection_id = :collection_id AND member_id = :member_id
RETURNING member_id;
