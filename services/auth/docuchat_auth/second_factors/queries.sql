-- name: count_factors(tenant_id, user_id)^
-- What a user has of this slice's.
SELECT EXISTS (
           SELECT FROM auth.totp WHERE tenant_id = :tenant_id AND user_id = :user_id AND sealed_secret IS NOT NULL
       ) AS has_totp,
       (SELECT count(*) FROM auth.recovery_codes WHERE tenant_id = :tenant_id AND user_id = :user_id) AS recovery_codes;

-- name: outdate_one_factor(tenant_id)
-- The next version of each user of a tenant with a session in which no second factor was shown.
SELECT user_id, user_version FROM auth.outdate_one_factor_v1(:tenant_id);

-- name: find_totp(tenant_id, user_id)$
-- The sealed secret of a user's authenticator app.
SELECT sealed_secret FROM auth.totp WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: use_totp_step(tenant_id, user_id, sealed_secret, step)$
-- Takes the code of a time step, once: never it or an older one again. Not when the app was replaced meanwhile.
UPDATE auth.totp
SET last_step = :step
WHERE tenant_id = :tenant_id AND user_id = :user_id AND sealed_secret = :sealed_secret AND last_step < :step
RETURNING true;

-- name: put_pending_totp(tenant_id, user_id, pending_secret, moment)!
-- A secret that is shown now, in place of another that nobody confirmed.
INSERT INTO auth.totp (tenant_id, user_id, pending_secret, pending_at)
VALUES (:tenant_id, :user_id, :pending_secret, :moment)
ON CONFLICT ON CONSTRAINT totp_pkey DO UPDATE
SET pending_secret = EXCLUDED.pending_secret, pending_at = EXCLUDED.pending_at;

-- name: find_pending_totp(tenant_id, user_id, since)$
-- The sealed secret that was shown last, and not long ago.
SELECT pending_secret FROM auth.totp
WHERE tenant_id = :tenant_id AND user_id = :user_id AND pending_at > :since;

-- name: confirm_totp(tenant_id, user_id, pending_secret, step, moment)$
-- The secret that was shown is in force, in place of an older one; not when another was shown meanwhile.
UPDATE auth.totp
SET sealed_secret = pending_secret, confirmed_at = :moment, last_step = :step, pending_secret = NULL, pending_at = NULL
WHERE tenant_id = :tenant_id AND user_id = :user_id AND pending_secret = :pending_secret
RETURNING true;

-- name: delete_totp(tenant_id, user_id)$
-- Forgets a user's authenticator app; nothing when there is none in force.
DELETE FROM auth.totp
WHERE tenant_id = :tenant_id AND user_id = :user_id AND sealed_secret IS NOT NULL
RETURNING true;

-- name: forget_totp(tenant_id, user_id)!
-- Forgets whatever there is, also what is not confirmed.
DELETE FROM auth.totp WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: take_recovery_code(tenant_id, user_id, code_hash)$
-- Uses a recovery code up.
DELETE FROM auth.recovery_codes
WHERE tenant_id = :tenant_id AND user_id = :user_id AND code_hash = :code_hash
RETURNING true;

-- name: delete_recovery_codes(tenant_id, user_id)!
-- Voids all recovery codes of a user.
DELETE FROM auth.recovery_codes WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: add_recovery_codes(tenant_id, user_id, code_hashes)!
-- New recovery codes of a user.
INSERT INTO auth.recovery_codes (tenant_id, user_id, code_hash)
SELECT :tenant_id::integer, :user_id::uuid, unnest(:code_hashes::bytea[]);
