-- What counts is done by functions with a version (migrations/sql), each of which takes the tenant's turn first.

-- name: hold(hold_id, tenant_id, subject_types, subject_ids, kind, provider, model, input_tokens, output_tokens, units, amounts, now, expires_at, period_start, period_end, announce_before)^
-- Set amounts aside in every budget of the subjects, or in none.
SELECT h.refused, h.subject_type, h.subject_id, h.unit, h.wanted, h.amount_limit, h.used, h.held, h.resets_at, h.announce
FROM usage.hold_v1(
    :hold_id::uuid, :tenant_id::bigint, :subject_types::text[], :subject_ids::text[], :kind::text, :provider::text, :model::text,
    :input_tokens::bigint, :output_tokens::bigint, :units::text[], :amounts::numeric[], :now::timestamptz,
    :expires_at::timestamptz, :period_start::timestamptz, :period_end::timestamptz, :announce_before::timestamptz) h;


-- name: hold_within(hold_id, tenant_id, subject_types, subject_ids, kind, provider, model, input_tokens, output_tokens, units, amounts, limit_types, limit_ids, limit_units, limits, now, expires_at, period_start, period_end, announce_before, thresholds)^
-- Bring budgets of the subjects to the limits that are stated, then set amounts aside in every budget, or in none.
SELECT h.refused, h.subject_type, h.subject_id, h.unit, h.wanted, h.amount_limit, h.used, h.held, h.resets_at, h.announce
FROM usage.hold_v2(
    :hold_id::uuid, :tenant_id::bigint, :subject_types::text[], :subject_ids::text[], :kind::text, :provider::text, :model::text,
    :input_tokens::bigint, :output_tokens::bigint, :units::text[], :amounts::numeric[], :limit_types::text[],
    :limit_ids::text[], :limit_units::text[], :limits::numeric[], :now::timestamptz, :expires_at::timestamptz,
    :period_start::timestamptz, :period_end::timestamptz, :announce_before::timestamptz, :thresholds::smallint[]) h;


-- name: renew(hold_id, tokens, expires_at)^
-- Prolong an open hold and give back what it will not need; nothing but nulls when it is not open.
SELECT h.tokens, h.expires_at FROM usage.renew_v1(:hold_id::uuid, :tokens::bigint, :expires_at::timestamptz) h;


-- name: release(hold_id, now)$
-- Give an open hold back unused; false when it is not open.
SELECT usage.release_v1(:hold_id::uuid, :now::timestamptz);


-- name: settle(hold_id, now)$
-- Count the messages and requests of an open hold as used and give the rest back; false when it is not open.
SELECT usage.settle_v1(:hold_id::uuid, :now::timestamptz);


-- name: expire(now, batch)$
-- Give back holds whose lease has ended, of all tenants; how many.
SELECT usage.expire_v1(:now::timestamptz, :batch::integer);


-- name: open_tenant(tenant_id, period_start, period_end)$
-- Give a tenant the default plan and its budgets unless it has them.
SELECT usage.open_tenant_v1(:tenant_id::bigint, :period_start::timestamptz, :period_end::timestamptz);


-- name: set_limits(tenant_id, subject_type, subject_id, units, limits, period_start, period_end, thresholds)$
-- Set what a subject may use, unit by unit; false for an unknown tenant.
SELECT usage.set_limits_v1(
    :tenant_id::bigint, :subject_type::text, :subject_id::text, :units::text[], :limits::numeric[], :period_start::timestamptz,
    :period_end::timestamptz, :thresholds::smallint[]);


-- name: purge(before, batch)$
-- Forget holds that were closed long ago; how many.
WITH old AS (
    SELECT h.id FROM usage.holds h
    WHERE h.state <> 'held' AND h.closed_at < :before::timestamptz
    LIMIT :batch::integer
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM usage.holds h USING old o WHERE h.id = o.id RETURNING h.id
)
SELECT count(*) FROM gone;


-- name: drop_ended(now, batch)$
-- Drop budgets with stated limits whose period is over; how many.
SELECT usage.drop_ended_v1(:now::timestamptz, :batch::integer);


-- name: count_open(now)^
-- Open holds, and those among them whose lease has ended, of all tenants.
SELECT count(*) AS held, count(*) FILTER (WHERE h.expires_at <= :now::timestamptz) AS lapsed
FROM usage.holds h WHERE h.state = 'held';


-- name: list_budgets(tenant_id, subject_types, subject_ids, now)
-- The budgets of some subjects of a tenant, counting neither a period that is over nor leases that have ended.
SELECT b.subject_type, b.unit, b.amount_limit,
       CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.used END AS used,
       b.held - coalesce(lapsed.amount, 0) AS held
FROM unnest(:subject_types::text[], :subject_ids::text[]) AS s (type, id)
JOIN usage.budgets b ON b.tenant_id = :tenant_id::bigint AND b.subject_type = s.type AND b.subject_id = s.id
LEFT JOIN LATERAL (
    SELECT sum(a.amount) AS amount
    FROM usage.holds h CROSS JOIN unnest(h.units, h.amounts) AS a (unit, amount)
    WHERE h.tenant_id = b.tenant_id AND h.state = 'held' AND h.expires_at <= :now::timestamptz
      AND b.id = ANY (h.budget_ids) AND a.unit = b.unit
) lapsed ON true;


-- name: list_chatbots(tenant_id, now)
-- What a tenant's chatbots have used in this period, and may use.
SELECT b.subject_id, b.unit, b.amount_limit, b.used, b.held
FROM usage.budgets b
WHERE b.tenant_id = :tenant_id::bigint AND b.subject_type = 'chatbot' AND b.period_end > :now::timestamptz
ORDER BY b.id;
