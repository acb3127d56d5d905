-- Collections.
-- tenant_id stands first in every condition although row-level security would do:
-- two locks on one door, and the planner needs it.
-- What a transaction remembers of what its caller may read (readable_v1) is forgotten wherever a collection is found or made:
-- it may be younger than that, and what is done in it next must be seen.

-- name: find_default_collection^
-- The tenant's default collection.
SELECT c.id, c.tenant_id, c.name, c.is_default, c.chunk_count, c.created_at,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.status <> 'receiving'
          AND d.deleted_at IS NULL) AS document_count,
       set_config('app.readable', '', true)
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.is_default;

-- name: find_collection^
-- One collection.
SELECT c.id, c.tenant_id, c.name, c.is_default, c.chunk_count, c.created_at,
       (SELECT count(*) FROM knowledge.documents d
        WHERE d.tenant_id = c.tenant_id AND d.collection_id = c.id AND d.status <> 'receiving'
          AND d.deleted_at IS NULL) AS document_count,
       set_config('app.readable', '', true)
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id AND c.id = :collection_id;

-- name: insert_default_collection!
-- Make the default collection unless there is one.
INSERT INTO knowledge.collections (id, tenant_id, name, is_default)
VALUES (:collection_id, :tenant_id, 'Documents', true)
ON CONFLICT (tenant_id) WHERE is_default DO NOTHING;
