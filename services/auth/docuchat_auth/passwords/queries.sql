-- name: find_password(tenant_id, user_id)$
-- What is stored of a user's password.
SELECT hash FROM auth.passwords WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: put_password(tenant_id, user_id, hash, moment)!
-- The first password of a user, or a new one.
INSERT INTO auth.passwords (tenant_id, user_id, hash, changed_at)
VALUES (:tenant_id, :user_id, :hash, :moment)
ON CONFLICT ON CONSTRAINT passwords_pkey DO UPDATE SET hash = EXCLUDED.hash, changed_at = EXCLUDED.changed_at;

-- name: rehash_password(tenant_id, user_id, older, hash)!
-- The same password under today's parameters, unless it was changed meanwhile.
UPDATE auth.passwords
SET hash = :hash
WHERE tenant_id = :tenant_id AND user_id = :user_id AND hash = :older;
