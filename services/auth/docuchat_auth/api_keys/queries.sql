-- name: find_tenant_of_key(key_id)$
-- Whose key it is: a key shows its id, and no tenant.
SELECT tenant_id FROM auth.api_keys WHERE id = :key_id;

-- name: find_key(tenant_id, key_id)^
-- A key by its id.
SELECT tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at,
       chatbot_id
FROM auth.api_keys
WHERE tenant_id = :tenant_id AND id = :key_id;

-- name: find_key_of_chatbot(tenant_id, chatbot_id)^
-- A chatbot's key; the newest, should there be more.
SELECT tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at,
       chatbot_id
FROM auth.api_keys
WHERE tenant_id = :tenant_id AND chatbot_id = :chatbot_id
ORDER BY id DESC
LIMIT 1;

-- name: lock_key(key)!
-- Rotations of one key take turns.
SELECT pg_advisory_xact_lock(hashtextextended(:key, 0));

-- name: list_keys_after(tenant_id, after, subject, max_rows)
-- Keys by id: all of the tenant, or those of one user together with the key that the subject is itself.
SELECT tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at,
       chatbot_id
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
-- How many keys a user has, or the tenant itself; those of chatbots are not counted.
SELECT count(*) FROM auth.api_keys
WHERE tenant_id = :tenant_id AND user_id IS NOT DISTINCT FROM :user_id::uuid AND chatbot_id IS NULL;

-- name: count_service_keys(tenant_id, shown_to)$
-- How many of the tenant's own keys have a secret that somebody was shown.
SELECT count(DISTINCT k.id)
FROM auth.api_keys AS k JOIN auth.api_key_secrets AS s ON s.tenant_id = k.tenant_id AND s.key_id = k.id
WHERE k.tenant_id = :tenant_id AND k.user_id IS NULL AND coalesce(s.shown_to, k.created_by) = :shown_to
  AND (s.ends_at IS NULL OR s.ends_at > now());

-- name: list_shown_to(tenant_id, key_id)
-- Who was shown what opens a key.
SELECT DISTINCT coalesce(s.shown_to, k.created_by) AS shown_to
FROM auth.api_keys AS k JOIN auth.api_key_secrets AS s ON s.tenant_id = k.tenant_id AND s.key_id = k.id
WHERE k.tenant_id = :tenant_id AND k.id = :key_id AND (s.ends_at IS NULL OR s.ends_at > now());

-- name: list_secrets(tenant_id, key_ids)
-- The secrets of some keys, the newest first.
SELECT s.id, s.key_id, s.prefix, s.secret_hash, s.created_at, coalesce(s.shown_to, k.created_by) AS shown_to,
       s.ends_at, s.last_used_at, s.last_used_from
FROM auth.api_key_secrets AS s JOIN auth.api_keys AS k ON k.tenant_id = s.tenant_id AND k.id = s.key_id
WHERE s.tenant_id = :tenant_id AND s.key_id = ANY (:key_ids::uuid[])
ORDER BY s.key_id, s.ends_at IS NULL DESC, s.id DESC;

-- name: add_key(tenant_id, key_id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at, chatbot_id)!
-- A new key.
INSERT INTO auth.api_keys
    (tenant_id, id, name, user_id, role, scopes, addresses, created_by, created_at, expires_at, chatbot_id)
VALUES
    (:tenant_id, :key_id, :name, :user_id, :role, :scopes, :addresses, :created_by, :created_at, :expires_at,
     :chatbot_id);

-- name: add_secret(tenant_id, secret_id, key_id, prefix, secret_hash, created_at, shown_to)!
-- What opens a key from now on.
INSERT INTO auth.api_key_secrets (tenant_id, id, key_id, prefix, secret_hash, created_at, shown_to)
VALUES (:tenant_id, :secret_id, :key_id, :prefix, :secret_hash, :created_at, :shown_to);

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
