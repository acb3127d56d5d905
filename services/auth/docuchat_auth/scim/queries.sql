-- name: put_user_external_id(tenant_id, user_id, external_id)!
-- The directory's name for a user.
INSERT INTO auth.external_ids (tenant_id, user_id, external_id)
VALUES (:tenant_id, :user_id, :external_id)
ON CONFLICT ON CONSTRAINT external_ids_user_key DO UPDATE SET external_id = excluded.external_id;

-- name: put_group_external_id(tenant_id, group_id, external_id)!
-- The directory's name for a group.
INSERT INTO auth.external_ids (tenant_id, group_id, external_id)
VALUES (:tenant_id, :group_id, :external_id)
ON CONFLICT ON CONSTRAINT external_ids_group_key DO UPDATE SET external_id = excluded.external_id;

-- name: list_external_ids(tenant_id, ids)
-- The directory's names for these users and groups.
SELECT coalesce(user_id, group_id) AS object_id, external_id
FROM auth.external_ids
WHERE tenant_id = :tenant_id AND (user_id = ANY(:ids::uuid[]) OR group_id = ANY(:ids::uuid[]));

-- name: find_by_external_id(tenant_id, external_id, is_user)$
-- Whom or what the directory calls so; the oldest.
SELECT coalesce(user_id, group_id)
FROM auth.external_ids
WHERE tenant_id = :tenant_id AND external_id = :external_id AND (user_id IS NOT NULL) = :is_user::boolean
ORDER BY 1
LIMIT 1;
