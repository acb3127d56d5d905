-- name: add_receipt(tenant_id, customer_id, moment, mail_to)!
-- A tenant whose erasure begins.
INSERT INTO auth.tenant_receipts (tenant_id, customer_id, begun_at, mail_to)
VALUES (:tenant_id, :customer_id, :moment, :mail_to::text[]);

-- name: find_receipt(tenant_id, customer_id)^
-- The receipt of a deleted tenant, by its number or its UUID.
SELECT tenant_id, customer_id, begun_at, finished_at, parts
FROM auth.tenant_receipts
WHERE tenant_id = :tenant_id::integer OR customer_id = :customer_id::uuid;

-- name: note_part(tenant_id, service, part, expected, moment)!
-- What a service erased, once, and whether it was the last.
WITH noted AS (
    SELECT r.tenant_id, jsonb_build_object(:service::text, :part::text::jsonb) || r.parts AS parts
    FROM auth.tenant_receipts AS r
    WHERE r.tenant_id = :tenant_id
    FOR UPDATE
)
UPDATE auth.tenant_receipts AS r
SET parts = n.parts,
    finished_at = coalesce(r.finished_at, CASE WHEN n.parts ?& :expected::text[] THEN :moment::timestamptz END)
FROM noted AS n
WHERE r.tenant_id = n.tenant_id;

-- name: take_to_mail(moment, again_at)
-- Complete receipts that somebody is still to get; nobody else finds them before `again_at`.
UPDATE auth.tenant_receipts
SET mail_after = :again_at
WHERE tenant_id IN (
    SELECT r.tenant_id
    FROM auth.tenant_receipts AS r
    WHERE r.finished_at IS NOT NULL AND cardinality(r.mail_to) > 0
      AND (r.mail_after IS NULL OR r.mail_after <= :moment)
    ORDER BY r.tenant_id
    LIMIT 100
    FOR UPDATE SKIP LOCKED
)
RETURNING tenant_id, customer_id, begun_at, finished_at, parts, mail_to;

-- name: forget_address(tenant_id, address)!
-- An owner has the receipt, or cannot be reached.
UPDATE auth.tenant_receipts SET mail_to = array_remove(mail_to, :address) WHERE tenant_id = :tenant_id;
