-- name: find_tenant_by_id(tenant_id)^
-- A tenant by its id.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at
FROM auth.tenants
WHERE id = :tenant_id;

-- name: find_tenant_by_slug(slug)^
-- A tenant by its slug.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at
FROM auth.tenants
WHERE slug = :slug;

-- name: find_tenant_by_customer_id(customer_id)^
-- A tenant by its UUID.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at
FROM auth.tenants
WHERE customer_id = :customer_id;

-- name: find_only_tenant()^
-- The tenant of an installation that has one only.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at
FROM auth.tenants
WHERE (SELECT count(*) FROM (SELECT FROM auth.tenants LIMIT 2) AS first_two) = 1;

-- name: list_tenants_after(tenant_id, max_rows)
-- The tenants with the next greater ids.
SELECT id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at
FROM auth.tenants
WHERE id > :tenant_id
ORDER BY id
LIMIT :max_rows;

-- name: add_tenant(slug, name, signup, domains)^
-- A new tenant with the next free id; none when its name is taken.
INSERT INTO auth.tenants (slug, name, signup, signup_domains, signup_open)
VALUES (:slug, :name, :signup::text, :domains::text[], :signup::text = 'open')
ON CONFLICT DO NOTHING
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: add_tenant_with_id(tenant_id, slug, name, signup, domains)^
-- A new tenant with a chosen id; none when its id or name is taken, or the id was that of a deleted tenant.
-- The sequence is moved past the id, so that the next free one is free.
WITH moved AS (
    -- setval takes effect at once and is never rolled back: a gap at worst
    SELECT setval('auth.tenants_id_seq', greatest(last_value, :tenant_id::bigint)) AS at
    FROM auth.tenants_id_seq
)
INSERT INTO auth.tenants (id, slug, name, signup, signup_domains, signup_open)
SELECT :tenant_id::integer, :slug::text, :name::text, :signup::text, :domains::text[], :signup::text = 'open'
FROM moved
WHERE NOT EXISTS (SELECT FROM auth.erased_tenants AS e WHERE e.tenant_id = :tenant_id::integer)
ON CONFLICT DO NOTHING
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: set_signup(tenant_id, signup, domains)^
-- Who may join a tenant without being invited.
UPDATE auth.tenants
SET signup = :signup::text, signup_domains = :domains::text[], signup_open = (:signup::text = 'open')
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: set_suspended(tenant_id, is_suspended)^
-- Suspends a tenant, which keeps the moment if it was suspended already, or ends that.
UPDATE auth.tenants
SET suspended_at = CASE WHEN :is_suspended::boolean THEN coalesce(suspended_at, now()) END
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: lock_tenant(tenant_id)$
-- Changes of a tenant take turns.
SELECT true FROM auth.tenants WHERE id = :tenant_id FOR NO KEY UPDATE;

-- name: change_tenant(tenant_id, name, signup, domains, chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor)^
-- What a tenant is called, who may join it uninvited, for how long it keeps things, and whether it demands two factors.
UPDATE auth.tenants
SET name = :name, signup = :signup::text, signup_domains = :domains::text[], signup_open = (:signup::text = 'open'),
    chats_days = :chats_days, documents_days = :documents_days,
    next_chats_days = :next_chats_days, next_documents_days = :next_documents_days,
    retention_changes_at = :retention_changes_at, require_second_factor = :require_second_factor
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: set_deletion(tenant_id, deletes_at)^
-- When a tenant is to be deleted; null: not at all.
UPDATE auth.tenants
SET deletes_at = :deletes_at
WHERE id = :tenant_id
RETURNING id, customer_id, slug, name, signup, signup_domains, suspended_at, deletes_at,
       chats_days, documents_days, next_chats_days, next_documents_days, retention_changes_at, require_second_factor,
       created_at;

-- name: list_due(moment)
-- The tenants whose day has come and whose erasure has not begun.
SELECT t.id
FROM auth.tenants AS t
WHERE t.deletes_at <= :moment AND NOT EXISTS (SELECT FROM auth.erased_tenants AS e WHERE e.tenant_id = t.id)
ORDER BY t.id
LIMIT 100;

-- name: list_retention_due(moment)
-- The tenants that are to keep things for less time from now on. It waits while nobody could take it back.
SELECT t.id
FROM auth.tenants AS t
WHERE t.retention_changes_at <= :moment AND t.suspended_at IS NULL AND t.deletes_at IS NULL
ORDER BY t.id
LIMIT 100;

-- name: drop_tenant(tenant_id)$
-- A tenant of which nothing else is left; how many that were.
SELECT auth.drop_tenant_v1(:tenant_id);

-- name: next_settings_version(tenant_id)$
-- The version of settings that other services are told.
UPDATE auth.tenants SET settings_version = settings_version + 1 WHERE id = :tenant_id RETURNING settings_version;
