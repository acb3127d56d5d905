-- name: find_user_by_email(tenant_id, email)^
-- A user by the address.
SELECT tenant_id, id, email, role, is_active, version, created_at, last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND email = :email;

-- name: find_user_by_id(tenant_id, user_id)^
-- A user by the id.
SELECT tenant_id, id, email, role, is_active, version, created_at, last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: list_users_after(tenant_id, after, email, user_id, max_rows)
-- A tenant's users by id, all or the one of an address or an id.
SELECT tenant_id, id, email, role, is_active, version, created_at, last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id
  AND (:after::uuid IS NULL OR id > :after::uuid)
  AND (:email::text IS NULL OR email = :email::text)
  AND (:user_id::uuid IS NULL OR id = :user_id::uuid)
ORDER BY id
LIMIT :max_rows;

-- name: lock_registration(tenant_id)!
-- Registrations of one tenant take turns, so that exactly one of the first comers becomes the owner.
SELECT pg_advisory_xact_lock(hashtextextended('auth.users', :tenant_id));

-- name: register_user(tenant_id, user_id, email, moment)^
-- A new user, owner when the tenant has none yet; no row when the address is known.
INSERT INTO auth.users (tenant_id, id, email, role, created_at)
SELECT :tenant_id::integer, :user_id::uuid, :email::text,
       CASE WHEN EXISTS (SELECT FROM auth.users WHERE tenant_id = :tenant_id::integer) THEN 'member' ELSE 'owner' END,
       :moment::timestamptz
ON CONFLICT ON CONSTRAINT users_email_key DO NOTHING
RETURNING tenant_id, id, email, role, is_active, version, created_at, last_login_at;

-- name: record_login(tenant_id, user_id, moment)!
-- When a user last proved to be who they are.
UPDATE auth.users
SET last_login_at = :moment
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: lock_user(tenant_id, user_id)$
-- Changes of one user take turns.
SELECT true
FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id
FOR UPDATE;

-- name: outdate_user(tenant_id, user_id)$
-- The next version of a user.
UPDATE auth.users
SET version = version + 1
WHERE tenant_id = :tenant_id AND id = :user_id
RETURNING version;
