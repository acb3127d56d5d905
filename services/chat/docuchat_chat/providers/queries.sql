-- name: take_turn^
-- Let providers of one owner be counted one after another.
SELECT pg_advisory_xact_lock(hashtextextended('chat.providers', coalesce(:owner::bigint, 0)));

-- name: count_providers$
-- How many an owner has.
SELECT count(*) FROM chat.providers WHERE tenant_id IS NOT DISTINCT FROM :owner::bigint;

-- name: add_provider^
-- Make one.
INSERT INTO chat.providers (id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled)
VALUES (:provider_id, :owner::bigint, :name, :base_url, :sealed_key, :key_hint, :auth, :query::jsonb, :models::jsonb, :is_enabled)
RETURNING id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at;

-- name: save_provider^
-- Keep an edit as the next revision.
UPDATE chat.providers
SET base_url = :base_url, sealed_key = :sealed_key, key_hint = :key_hint, auth = :auth, query = :query::jsonb,
    models = :models::jsonb, is_enabled = :is_enabled, revision = revision + 1, updated_at = now()
WHERE tenant_id IS NOT DISTINCT FROM :owner::bigint AND id = :provider_id
RETURNING id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at;

-- name: remove_provider$
-- Delete one.
DELETE FROM chat.providers WHERE tenant_id IS NOT DISTINCT FROM :owner::bigint AND id = :provider_id RETURNING id;

-- name: find_own^
-- One that nobody else edits until the transaction ends.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE tenant_id IS NOT DISTINCT FROM :owner::bigint AND id = :provider_id
FOR UPDATE;

-- name: find_provider^
-- One of the tenant's or the platform's.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE id = :provider_id AND (tenant_id = :tenant_id::bigint OR tenant_id IS NULL);

-- name: find_any^
-- One, whosever it is.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE id = :provider_id;

-- name: list_any
-- A page of all, whosever they are.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE :after::uuid IS NULL OR id > :after
ORDER BY id
LIMIT :row_limit;

-- name: seal_anew$
-- Replace a sealed key by the same one under another secret; nothing that anybody sees changes.
UPDATE chat.providers
SET sealed_key = :sealed_key
WHERE tenant_id IS NOT DISTINCT FROM :owner::bigint AND id = :provider_id AND sealed_key = :before
RETURNING id;

-- name: has_platform$
-- Whether the platform has one of that name.
SELECT EXISTS (SELECT FROM chat.providers WHERE tenant_id IS NULL AND name = :name);

-- name: list_providers
-- A page of the tenant's and the platform's.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE (tenant_id = :tenant_id::bigint OR tenant_id IS NULL) AND (:after::uuid IS NULL OR id > :after::uuid)
ORDER BY id
LIMIT :row_limit;

-- name: list_enabled
-- What a tenant may use, its own first: they win over one of the platform's that came later with the same name.
SELECT id, tenant_id, name, base_url, sealed_key, key_hint, auth, query, models, is_enabled, revision, created_at, updated_at
FROM chat.providers
WHERE (tenant_id = :tenant_id::bigint OR tenant_id IS NULL) AND is_enabled
ORDER BY tenant_id NULLS LAST, id;
