-- name: find_tenant_of_key(key_id)$
-- Whose key it is: a key shows its id, and no tenant.
SELECT tenant_id FROM auth.api_keys WHERE id = :key_id;

-- name: find_key(tenant_id, key_id)^
-- A key by its id.
SELECT tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at
FROM auth.api_keys
WHERE tenant_id = :tenant_id AND id = :key_id;

-- name: lock_key(key)!
-- Rotations of one key take turns.
SELECT pg_advisory_xact_lock(hashtextextended(:key, 0));

-- name: list_keys_after(tenant_id, after, subject, max_rows)
-- Keys by id: all of the tenant, or those of one user together with the key that the subject is itself.
SELECT tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at
FROM auth.api_keys
WHERE tenant_id = :tenant_id
  AND (:after::uuid IS NULL OR id > :after::uuid)
  AND (:subject::uuid IS NULL OR user_id = :subject::uuid OR id = :subject::uuid)
ORDER BY id
LIMIT :max_rows;

-- name: list_key_ids(tenant_id, user_id)
-- The keys of a user.
SELECT id FROM auth.api_keys WHERE tenant_id = :tenant_id AND user_id = :user_id ORDER BY id;

-- name: count_keys(tenant_id, user_id)$
-- How many keys a user has, or the tenant itself.
SELECT count(*) FROM auth.api_keys WHERE tenant_id = :tenant_id AND user_id IS NOT DISTINCT FROM :user_id::uuid;

-- name: count_service_keys(tenant_id, created_by)$
-- How many of the tenant's own keys somebody made, who has seen their secrets.
SELECT count(*)
FROM auth.api_keys
WHERE tenant_id = :tenant_id AND created_by = :created_by AND user_id IS NULL;

-- name: list_secrets(tenant_id, key_ids)
-- The secrets of some keys, the newest first.
SELECT id, key_id, prefix, secret_hash, created_at, ends_at, last_used_at, last_used_from
FROM auth.api_key_secrets
WHERE tenant_id = :tenant_id AND key_id = ANY (:key_ids::uuid[])
ORDER BY key_id, ends_at IS NULL DESC, id DESC;

-- name: add_key(tenant_id, key_id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at)!
-- A new key.
INSERT INTO auth.api_keys
    (tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at)
VALUES
    (:tenant_id, :key_id, :name, :user_id, :role, :scopes, :addresses, :created_by, :created_at, :expires_at);

-- name: add_secret(tenant_id, secret_id, key_id, prefix, secret_hash, created_at)!
-- What opens a key from now on.
INSERT INTO auth.api_key_secrets (tenant_id, id, key_id, prefix, secret_hash, created_at)
VALUES (:tenant_id, :secret_id, :key_id, :prefix, :secret_hash, :created_at);

-- name: end_secret(tenant_id, secret_id, new_id, moment)!
-- When a secret gives way to the newer one. With another id, the tokens that name the older one can be ended.
UPDATE auth.api_key_secrets SET ends_at = :moment, id = :new_id WHERE tenant_id = :tenant_id AND id = :secret_id;

-- name: delete_secret(tenant_id, secret_id)!
-- A secret opens nothing any more.
DELETE FROM auth.api_key_secrets WHERE tenant_id = :tenant_id AND id = :secret_id;

-- name: record_key_use(tenant_id, secret_id, moment, address)!
-- When and from where a secret was last used, written once a minute at most.
UPDATE auth.api_key_secrets
SET last_used_at = :moment::timestamptz, last_used_from = :address
WHERE tenant_id = :tenant_id AND id = :secret_id
  AND (last_used_at IS NULL OR last_used_at <= :moment::timestamptz - interval '1 minute');

-- name: delete_key(tenant_id, key_id)$
-- A key with its secrets; no row when there was none.
DELETE FROM auth.api_keys WHERE tenant_id = :tenant_id AND id = :key_id RETURNING true;
