-- name: store(tenant_id, document_id, user_id, size_bytes, pages, generation, deleted, hold_id, now, period_start, period_end)$
-- Count what an event says of a stored document, once, in any order.
SELECT usage.store_document_v1(
    :tenant_id::bigint, :document_id::uuid, :user_id::uuid, :size_bytes::bigint, :pages::bigint, :generation::bigint,
    :deleted::boolean, :hold_id::uuid, :now::timestamptz, :period_start::timestamptz, :period_end::timestamptz);


-- name: forget_deleted(before)!
-- Forget deleted documents of which no event can be under way any more.
DELETE FROM usage.stored_documents d WHERE d.is_deleted AND d.seen_at < :before::timestamptz;
