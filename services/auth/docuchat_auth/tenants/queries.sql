-- name: find_tenant_by_id(tenant_id)^
-- A tenant by its id.
SELECT id, slug, name, signup_open, created_at
FROM auth.tenants
WHERE id = :tenant_id;

-- name: find_tenant_by_slug(slug)^
-- A tenant by its slug.
SELECT id, slug, name, signup_open, created_at
FROM auth.tenants
WHERE slug = :slug;

-- name: list_tenants_after(tenant_id, max_rows)
-- The tenants with the next greater ids.
SELECT id, slug, name, signup_open, created_at
FROM auth.tenants
WHERE id > :tenant_id
ORDER BY id
LIMIT :max_rows;

-- name: add_tenant(slug, name, signup_open)^
-- A new tenant with the next free id; none when its name is taken.
INSERT INTO auth.tenants (slug, name, signup_open)
VALUES (:slug, :name, :signup_open)
ON CONFLICT DO NOTHING
RETURNING id, slug, name, signup_open, created_at;

-- name: add_tenant_with_id(tenant_id, slug, name, signup_open)^
-- A new tenant with a chosen id, none when id or name is taken; the sequence is moved past it, so that the next free id
-- stays free.
WITH moved AS (
    -- setval takes effect at once and is never rolled back: a gap at worst
    SELECT setval('auth.tenants_id_seq', greatest(last_value, :tenant_id::bigint)) AS at
    FROM auth.tenants_id_seq
)
INSERT INTO auth.tenants (id, slug, name, signup_open)
SELECT :tenant_id::integer, :slug::text, :name::text, :signup_open::boolean
FROM moved
ON CONFLICT DO NOTHING
RETURNING id, slug, name, signup_open, created_at;

-- name: set_signup(slug, is_open)^
-- Opens or closes a tenant to unknown addresses.
UPDATE auth.tenants
SET signup_open = :is_open
WHERE slug = :slug
RETURNING id, slug, name, signup_open, created_at;
