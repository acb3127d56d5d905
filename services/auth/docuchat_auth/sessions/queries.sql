-- name: find_refresh_token(tenant_id, token_hash)^
-- A refresh token by the hash of its text.
SELECT id, tenant_id, user_id, family_id, method, parent_id, created_at, expires_at, used_at, revoked_at,
       factor_shown, device, address
FROM auth.refresh_tokens
WHERE tenant_id = :tenant_id AND token_hash = :token_hash;

-- name: find_home(token_hash)$
-- Of any tenant: in which a refresh token was issued.
SELECT auth.home_of_refresh_token_v1(:token_hash);

-- name: add_refresh_token(tenant_id, token_id, user_id, family_id, method, parent_id, token_hash, created_at, expires_at, factor_shown, device, address)!
-- The next link of a family, or the first one.
INSERT INTO auth.refresh_tokens (
    tenant_id, id, user_id, family_id, method, parent_id, token_hash, created_at, expires_at,
    factor_shown, device, address
)
VALUES (
    :tenant_id, :token_id, :user_id, :family_id, :method, :parent_id, :token_hash, :created_at, :expires_at,
    :factor_shown, :device, :address
);

-- name: note_factor(tenant_id, family_id)!
-- A second factor was set up in a sign-in.
UPDATE auth.refresh_tokens SET factor_shown = true WHERE tenant_id = :tenant_id AND family_id = :family_id;

-- name: use_refresh_token(tenant_id, token_id, moment)$
-- Spends a live token, once.
UPDATE auth.refresh_tokens
SET used_at = :moment
WHERE tenant_id = :tenant_id AND id = :token_id
  AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :moment
RETURNING true;

-- name: revoke_family(tenant_id, family_id, moment)$
-- Revokes every token of a family that is not revoked yet, and counts those that were not used.
WITH revoked AS (
    UPDATE auth.refresh_tokens
    SET revoked_at = :moment
    WHERE tenant_id = :tenant_id AND family_id = :family_id AND revoked_at IS NULL
    RETURNING used_at
)
SELECT count(*) FROM revoked WHERE used_at IS NULL;

-- name: revoke_sessions(tenant_id, user_id, moment, keep, spared)
-- Ends the sign-ins of a user that can still be refreshed, but for one, or for those that were used last. Each has one token
-- that is not used: without it none of the others is good for anything.
UPDATE auth.refresh_tokens AS token
SET revoked_at = :moment::timestamptz
FROM (
    SELECT id
    FROM auth.refresh_tokens
    WHERE tenant_id = :tenant_id AND user_id = :user_id
      AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :moment::timestamptz
      AND (:keep::uuid IS NULL OR family_id <> :keep::uuid)
    ORDER BY created_at DESC, id DESC
    OFFSET :spared
) AS ending
WHERE token.tenant_id = :tenant_id AND token.id = ending.id
RETURNING token.family_id;

-- name: list_open_sessions(tenant_id, user_id, before, moment, max_rows)
-- The sign-ins of a user that can still be refreshed, each with its only token that is not used, the newest sign-in first.
SELECT family_id, created_at, expires_at, device, address
FROM auth.refresh_tokens
WHERE tenant_id = :tenant_id AND user_id = :user_id
  AND used_at IS NULL AND revoked_at IS NULL AND expires_at > :moment
  AND (:before::uuid IS NULL OR family_id < :before::uuid)
ORDER BY family_id DESC
LIMIT :max_rows;

-- name: is_family_of(tenant_id, user_id, family_id)$
-- Whether a sign-in is of this user.
SELECT EXISTS (
    SELECT FROM auth.refresh_tokens WHERE tenant_id = :tenant_id AND family_id = :family_id AND user_id = :user_id
);

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
