-- name: add_group(tenant_id, group_id, name, moment)!
-- A new group without members.
INSERT INTO auth.groups (tenant_id, id, name, created_at)
VALUES (:tenant_id, :group_id, :name, :moment);

-- name: rename_group(tenant_id, group_id, name)$
-- Another name; no row for a group that is not there.
UPDATE auth.groups
SET name = :name
WHERE tenant_id = :tenant_id AND id = :group_id
RETURNING true;

-- name: find_group(tenant_id, group_id)^
-- A group and how many are in it.
SELECT g.tenant_id, g.id, g.name, g.created_at,
       (SELECT count(*) FROM auth.group_members AS m WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id) AS members
FROM auth.groups AS g
WHERE g.tenant_id = :tenant_id AND g.id = :group_id;

-- name: list_groups_after(tenant_id, after, max_rows)
-- A tenant's groups by id, each with how many are in it.
SELECT g.tenant_id, g.id, g.name, g.created_at,
       (SELECT count(*) FROM auth.group_members AS m WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id) AS members
FROM auth.groups AS g
WHERE g.tenant_id = :tenant_id AND (:after::uuid IS NULL OR g.id > :after::uuid)
ORDER BY g.id
LIMIT :max_rows;

-- name: lock_group(tenant_id, group_id)$
-- Nobody is added to a group while it is deleted.
SELECT true
FROM auth.groups
WHERE tenant_id = :tenant_id AND id = :group_id
FOR UPDATE;

-- name: delete_group(tenant_id, group_id)!
-- With all its memberships.
DELETE FROM auth.groups
WHERE tenant_id = :tenant_id AND id = :group_id;

-- name: list_members_after(tenant_id, group_id, after, max_rows)
-- Who is in a group, by id.
SELECT user_id, added_at
FROM auth.group_members
WHERE tenant_id = :tenant_id AND group_id = :group_id AND (:after::uuid IS NULL OR user_id > :after::uuid)
ORDER BY user_id
LIMIT :max_rows;

-- name: list_groups_of(tenant_id, user_id)
-- The groups that a user is in.
SELECT group_id
FROM auth.group_members
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY group_id;

-- name: add_member(tenant_id, group_id, user_id, moment)$
-- A user in a group; no row when that was so.
INSERT INTO auth.group_members (tenant_id, group_id, user_id, added_at)
VALUES (:tenant_id, :group_id, :user_id, :moment)
ON CONFLICT ON CONSTRAINT group_members_pkey DO NOTHING
RETURNING true;

-- name: remove_member(tenant_id, group_id, user_id)$
-- A user out of a group; no row when that was so.
DELETE FROM auth.group_members
WHERE tenant_id = :tenant_id AND group_id = :group_id AND user_id = :user_id
RETURNING true;

-- name: list_groups_from(tenant_id, skip, max_rows)
-- A tenant's groups by id, without the first of them.
SELECT g.tenant_id, g.id, g.name, g.created_at,
       (SELECT count(*) FROM auth.group_members AS m WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id) AS members
FROM auth.groups AS g
WHERE g.tenant_id = :tenant_id
ORDER BY g.id
OFFSET :skip
LIMIT :max_rows;

-- name: count_groups(tenant_id)$
-- How many groups a tenant has.
SELECT count(*)
FROM auth.groups
WHERE tenant_id = :tenant_id;

-- name: find_group_by_name(tenant_id, name)^
-- A group by its name, whatever its case.
SELECT g.tenant_id, g.id, g.name, g.created_at,
       (SELECT count(*) FROM auth.group_members AS m WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id) AS members
FROM auth.groups AS g
WHERE g.tenant_id = :tenant_id AND lower(g.name) = lower(:name);
