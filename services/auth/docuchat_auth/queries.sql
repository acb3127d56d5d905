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

-- name: add_tenant(slug, name, signup_open)^
-- A new tenant with the next free id.
INSERT INTO auth.tenants (slug, name, signup_open)
VALUES (:slug, :name, :signup_open)
RETURNING id, slug, name, signup_open, created_at;

-- name: add_tenant_with_id(tenant_id, slug, name, signup_open)^
-- A new tenant with a chosen id; the sequence is moved past it, so that the next free id stays free.
WITH moved AS (
    -- setval takes effect at once and is never rolled back: a gap at worst
    SELECT setval('auth.tenants_id_seq', greatest(last_value, :tenant_id::bigint)) AS at
    FROM auth.tenants_id_seq
)
INSERT INTO auth.tenants (id, slug, name, signup_open)
SELECT :tenant_id::integer, :slug::text, :name::text, :signup_open::boolean
FROM moved
RETURNING id, slug, name, signup_open, created_at;

-- name: set_signup(slug, is_open)^
-- Opens or closes a tenant to unknown addresses.
UPDATE auth.tenants
SET signup_open = :is_open
WHERE slug = :slug
RETURNING id, slug, name, signup_open, created_at;

-- name: find_user_by_email(tenant_id, email)^
-- A user by the address.
SELECT tenant_id, id, email, role, is_active, created_at, last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND email = :email;

-- name: find_user_by_id(tenant_id, user_id)^
-- A user by the id.
SELECT tenant_id, id, email, role, is_active, created_at, last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id;

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
RETURNING tenant_id, id, email, role, is_active, created_at, last_login_at;

-- name: record_login(tenant_id, user_id, moment)!
-- When a user last proved to be who they are.
UPDATE auth.users
SET last_login_at = :moment
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: find_refresh_token(tenant_id, token_hash)^
-- A refresh token by the hash of its text.
SELECT id, tenant_id, user_id, family_id, parent_id, created_at, expires_at, used_at, revoked_at
FROM auth.refresh_tokens
WHERE tenant_id = :tenant_id AND token_hash = :token_hash;

-- name: lock_family(family)!
-- Rotations and revocations of one family take turns: without it a child that is being born escapes a revocation.
SELECT pg_advisory_xact_lock(hashtextextended(:family, 0));

-- name: add_refresh_token(tenant_id, token_id, user_id, family_id, parent_id, token_hash, created_at, expires_at)!
-- The next link of a family, or the first one.
INSERT INTO auth.refresh_tokens (tenant_id, id, user_id, family_id, parent_id, token_hash, created_at, expires_at)
VALUES (:tenant_id, :token_id, :user_id, :family_id, :parent_id, :token_hash, :created_at, :expires_at);

-- name: use_refresh_token(tenant_id, token_id, moment)$
-- Spends a live token, once.
UPDATE auth.refresh_tokens
SET used_at = :moment
WHERE tenant_id = :tenant_id AND id = :token_id
  AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :moment
RETURNING true;

-- name: revoke_family(tenant_id, family_id, moment)$
-- Revokes every token of a family that is not revoked yet.
WITH revoked AS (
    UPDATE auth.refresh_tokens
    SET revoked_at = :moment
    WHERE tenant_id = :tenant_id AND family_id = :family_id AND revoked_at IS NULL
    RETURNING 1
)
SELECT count(*) FROM revoked;

-- name: delete_expired_refresh_tokens(before, max_rows)$
-- Forgets tokens of any tenant that expired long ago, a bounded number at a time.
WITH old AS (
    SELECT tenant_id, id FROM auth.refresh_tokens WHERE expires_at < :before ORDER BY expires_at LIMIT :max_rows
), deleted AS (
    DELETE FROM auth.refresh_tokens USING old
    WHERE refresh_tokens.tenant_id = old.tenant_id AND refresh_tokens.id = old.id
    RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: lock_signing_keys()!
-- Replicas and commands that change keys take turns.
SELECT pg_advisory_xact_lock(hashtextextended('auth.signing_keys', 0));

-- name: list_signing_keys()
-- Every key, oldest first.
SELECT kid, algorithm, public_jwk::text AS public_jwk, sealed_private_key, created_at, not_before, retired_at
FROM auth.signing_keys
ORDER BY not_before, kid;

-- name: add_signing_key(kid, algorithm, public_jwk, sealed_private_key, created_at, not_before)!
-- A new key pair.
INSERT INTO auth.signing_keys (kid, algorithm, public_jwk, sealed_private_key, created_at, not_before)
VALUES (:kid, :algorithm, :public_jwk::text::jsonb, :sealed_private_key, :created_at, :not_before);

-- name: retire_signing_key(kid, moment)!
-- The moment from which a key signs no more; an earlier one stands.
UPDATE auth.signing_keys
SET retired_at = least(retired_at, :moment)
WHERE kid = :kid;

-- name: drop_signing_key(kid)!
-- Forgets a key whose last token has expired.
DELETE FROM auth.signing_keys
WHERE kid = :kid;
