-- name: find_tenant_by_id(tenant_id)^
-- A tenant by its id.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at
FROM auth.tenants
WHERE id = :tenant_id;

-- name: find_tenant_by_slug(slug)^
-- A tenant by its slug.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at
FROM auth.tenants
WHERE slug = :slug;

-- name: find_tenant_by_customer_id(customer_id)^
-- A tenant by its UUID.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at
FROM auth.tenants
WHERE customer_id = :customer_id;

-- name: find_only_tenant()^
-- The tenant of an installation that has one only.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at
FROM auth.tenants
WHERE (SELECT count(*) FROM (SELECT FROM auth.tenants LIMIT 2) AS first_two) = 1;

-- name: list_tenants_after(tenant_id, max_rows)
-- The tenants with the next greater ids.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at
FROM auth.tenants
WHERE id > :tenant_id
ORDER BY id
LIMIT :max_rows;

-- name: add_tenant(slug, name, signup, domains)^
-- A new tenant with the next free id; none when its name is taken.
INSERT INTO auth.tenants (slug, name, signup, signup_domains, signup_open)
VALUES (:slug, :name, :signup::text, :domains::text[], :signup::text = 'open')
ON CONFLICT DO NOTHING
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at;

-- name: add_tenant_with_id(tenant_id, slug, name, signup, domains)^
-- A new tenant with a chosen id, none when id or name is taken; the sequence is moved past it, so that the next free id
-- stays free.
WITH moved AS (
    -- setval takes effect at once and is never rolled back: a gap at worst
    SELECT setval('auth.tenants_id_seq', greatest(last_value, :tenant_id::bigint)) AS at
    FROM auth.tenants_id_seq
)
INSERT INTO auth.tenants (id, slug, name, signup, signup_domains, signup_open)
SELECT :tenant_id::integer, :slug::text, :name::text, :signup::text, :domains::text[], :signup::text = 'open'
FROM moved
ON CONFLICT DO NOTHING
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at;

-- name: set_signup(tenant_id, signup, domains)^
-- Who may join a tenant without being invited.
UPDATE auth.tenants
SET signup = :signup::text, signup_domains = :domains::text[], signup_open = (:signup::text = 'open')
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at;

-- name: set_suspended(tenant_id, is_suspended)^
-- Suspends a tenant, which keeps the moment if it was suspended already, or ends that.
UPDATE auth.tenants
SET suspended_at = CASE WHEN :is_suspended::boolean THEN coalesce(suspended_at, now()) END
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, created_at;
