-- name: list_rows_of(tenant_id, user_id)
-- How many rows of each table go with a user.
SELECT 'users' AS name, 1::bigint AS amount
UNION ALL SELECT 'refresh_tokens', count(*) FROM auth.refresh_tokens WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'passwords', count(*) FROM auth.passwords WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'totp', count(*) FROM auth.totp WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'recovery_codes', count(*) FROM auth.recovery_codes WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'passkeys', count(*) FROM auth.passkeys WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'federated_identities', count(*) FROM auth.federated_identities
          WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'external_ids', count(*) FROM auth.external_ids WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'group_members', count(*) FROM auth.group_members WHERE tenant_id = :tenant_id AND user_id = :user_id
UNION ALL SELECT 'api_keys', count(*) FROM auth.api_keys WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: add_receipt(tenant_id, user_id, key_ids, moment, erased)!
-- A user who is being erased, and how much goes at once.
INSERT INTO auth.user_receipts (tenant_id, user_id, key_ids, begun_at, erased)
VALUES (:tenant_id, :user_id, :key_ids::uuid[], :moment, :erased::text::jsonb);

-- name: find_receipt(tenant_id, user_id)^
-- The receipt of an erased user.
SELECT tenant_id, user_id, begun_at, finished_at, parts
FROM auth.user_receipts
WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: list_open
-- Of all tenants: users of whom auth has not said what is gone.
SELECT tenant_id, user_id
FROM auth.user_receipts
WHERE finished_at IS NULL AND NOT parts ? 'auth'
ORDER BY begun_at
LIMIT 100;

-- name: count_erased(tenant_id, user_id, name, amount)!
-- Adds to what auth has erased of a user.
UPDATE auth.user_receipts
SET erased = erased || jsonb_build_object(:name::text, coalesce((erased ->> :name)::bigint, 0) + :amount::bigint)
WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: find_erased(tenant_id, user_id)$
-- What auth has erased of a user so far.
SELECT erased FROM auth.user_receipts
WHERE tenant_id = :tenant_id AND user_id = :user_id;

-- name: note_part(tenant_id, user_id, service, part, expected, moment)$
-- What a service erased, once, and whether it was the last; no row when it had said so.
WITH noted AS (
    SELECT r.tenant_id, r.user_id, r.parts || jsonb_build_object(:service::text, :part::text::jsonb) AS parts
    FROM auth.user_receipts AS r
    WHERE r.tenant_id = :tenant_id AND r.user_id = :user_id AND NOT r.parts ? :service::text
    FOR UPDATE
)
UPDATE auth.user_receipts AS r
SET parts = n.parts,
    finished_at = coalesce(r.finished_at, CASE WHEN n.parts ?& :expected::text[] THEN :moment::timestamptz END)
FROM noted AS n
WHERE r.tenant_id = n.tenant_id AND r.user_id = n.user_id
RETURNING true;
