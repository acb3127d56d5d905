-- name: list_left(row_limit)
-- Removed users of all tenants who are counted all the same.
SELECT r.tenant_id, r.user_id, r.key_ids, r.hand_over_to, r.is_erasure
FROM usage.removed_users r
WHERE EXISTS (SELECT FROM usage.budgets b
              WHERE b.tenant_id = r.tenant_id AND b.subject_type = 'user' AND b.subject_id = r.user_id::text)
   OR EXISTS (SELECT FROM usage.budgets b
              WHERE b.tenant_id = r.tenant_id AND b.subject_type = 'key' AND b.subject_id = ANY (r.key_ids::text[]))
   OR EXISTS (SELECT FROM usage.stored_documents d WHERE d.tenant_id = r.tenant_id AND d.user_id = r.user_id)
ORDER BY r.removed_at
LIMIT :row_limit;


-- name: remove_user(tenant_id, user_id, key_ids, heir, period_start, period_end)$
-- Count a user no more; gives how many budgets went.
SELECT usage.remove_user_v1(
    :tenant_id::bigint, :user_id::uuid, :key_ids::uuid[], :heir::uuid, :period_start::timestamptz, :period_end::timestamptz);
