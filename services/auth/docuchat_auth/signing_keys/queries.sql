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
