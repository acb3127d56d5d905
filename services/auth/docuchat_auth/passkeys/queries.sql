-- name: list_passkeys(tenant_id, user_id)
-- A user's passkeys, the oldest first.
SELECT tenant_id, id, user_id, name, credential_id, public_key, sign_count, is_backed_up, created_at, last_used_at
FROM auth.passkeys
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY id;

-- name: count_passkeys(tenant_id, user_id)$
-- How many a user has.
SELECT count(*) FROM auth.passkeys WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: find_home(credential_id)$
-- Of any tenant: of whose user a credential is.
SELECT auth.home_of_passkey_v1(:credential_id);

-- name: find_passkey(tenant_id, credential_id)^
-- A passkey by what its authenticator calls it.
SELECT tenant_id, id, user_id, name, credential_id, public_key, sign_count, is_backed_up, created_at, last_used_at
FROM auth.passkeys
WHERE tenant_id = :tenant_id AND credential_id = :credential_id;

-- name: add_passkey(tenant_id, passkey_id, user_id, name, credential_id, public_key, sign_count, is_backed_up, moment)$
-- A new passkey; nothing when it is registered, in whichever tenant.
INSERT INTO auth.passkeys
    (tenant_id, id, user_id, name, credential_id, public_key, sign_count, is_backed_up, created_at)
VALUES
    (:tenant_id, :passkey_id, :user_id, :name, :credential_id, :public_key, :sign_count, :is_backed_up, :moment)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: use_passkey(tenant_id, passkey_id, sign_count, is_backed_up, moment)$
-- Notes a use. Authenticators that count go on counting: a number that was seen before is a copy's (WebAuthn §7.2, 22).
UPDATE auth.passkeys
SET sign_count = :sign_count, is_backed_up = :is_backed_up, last_used_at = :moment
WHERE tenant_id = :tenant_id AND id = :passkey_id
  AND (sign_count < :sign_count OR (sign_count = 0 AND :sign_count = 0))
RETURNING true;

-- name: delete_passkey(tenant_id, user_id, passkey_id)$
-- Forgets one of a user's passkeys.
DELETE FROM auth.passkeys
WHERE tenant_id = :tenant_id AND user_id = :user_id AND id = :passkey_id
RETURNING true;

-- name: forget_passkeys(tenant_id, user_id)!
-- Forgets all of a user's.
DELETE FROM auth.passkeys WHERE tenant_id = :tenant_id AND user_id = :user_id;
