-- name: store(tenant_id, document_id, user_id, size_bytes, pages, generation, deleted, hold_id, now, period_start, period_end)$
-- Count what an event says of a stored document, once, in any order.
SELECT usage.store_document_v1(
    :tenant_id::bigint, :document_id::uuid, :user_id::uuid, :size_bytes::bigint, :pages::bigint, :generation::bigint,
    :deleted::boolean, :hold_id::uuid, :now::timestamptz, :period_start::timestamptz, :period_end::timestamptz);


-- name: forget_deleted(before)!
-- Forget deleted documents of which no event can be under way any more.
DELETE FROM usage.stored_documents d WHERE d.is_deleted AND d.seen_at < :before::timestamptz;


-- name: list_counted(after, page_size)
-- A page of the documents that count now, of all tenants, by id.
SELECT d.tenant_id, d.document_id, d.user_id, d.bytes, d.pages, d.generation
FROM usage.stored_documents d
WHERE d.is_uploaded AND NOT d.is_deleted AND (:after::uuid IS NULL OR d.document_id > :after::uuid)
ORDER BY d.document_id
LIMIT :page_size;


-- name: correct(tenant_id, document_id, user_id, size_bytes, pages, generation, deleted, settled_before, now, period_start, period_end)$
-- Count a document as its row says; answers whether it counts otherwise now.
SELECT usage.correct_document_v1(
    :tenant_id::bigint, :document_id::uuid, :user_id::uuid, :size_bytes::bigint, :pages::bigint, :generation::bigint,
    :deleted::boolean, :settled_before::timestamptz, :now::timestamptz, :period_start::timestamptz, :period_end::timestamptz);


-- name: recount(tenant_id, period_start, period_end)$
-- Set what a tenant is charged with to the sums of its documents; answers whether it was another.
SELECT usage.recount_v1(:tenant_id::bigint, :period_start::timestamptz, :period_end::timestamptz);


-- name: list_tenants(after, page_size)
-- A page of the tenants that have budgets.
SELECT s.tenant_id FROM usage.subscriptions s WHERE s.tenant_id > :after::bigint ORDER BY s.tenant_id LIMIT :page_size;
