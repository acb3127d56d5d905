-- name: find_live_operator(operator_id)^
-- The operator of a credential that is not revoked.
SELECT id, name, secret_hash
FROM auth.operators
WHERE id = :operator_id AND revoked_at IS NULL;

-- name: record_use(operator_id, moment)!
-- When a credential was last exchanged for a token.
UPDATE auth.operators
SET last_used_at = :moment
WHERE id = :operator_id;
