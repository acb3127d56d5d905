-- Every statement that counts locks the tenant's budget first and the others in the order (layer, id): within a tenant
-- they take turns, so that neither overruns nor deadlocks can happen. Holds are locked before budgets, or skipped.

-- name: hold(tenant_id, hold_id, user_id, chatbot_id, key_id, provider, model, kind, input_tokens, output_tokens, now, expires_at, period_start, period_end, announce_before)^
-- Set tokens and cost aside in every layer of the tenant, or in none; one row.
WITH price AS (
    SELECT p.id,
           CASE WHEN :kind::text = 'embedding' THEN p.embedding * :input_tokens::bigint * 0.000001
                ELSE (p.input * :input_tokens::bigint + p.output * :output_tokens::bigint) * 0.000001 END AS cost
    FROM usage.prices p
    WHERE p.provider IN ('*', :provider::text)
      AND CASE WHEN right(p.model, 1) = '*' THEN starts_with(:model::text, left(p.model, -1)) ELSE p.model = :model::text END
      AND p.valid_from <= :now::timestamptz
    ORDER BY p.provider = '*', right(p.model, 1) = '*', length(p.model) DESC, p.valid_from DESC
    LIMIT 1
), wanted AS (
    SELECT :input_tokens::bigint + :output_tokens::bigint AS tokens, coalesce((SELECT cost FROM price), 0) AS cost
), known AS (
    -- As of the snapshot: no lock, so no wait. Differs from the locked row when a budget was added meanwhile.
    SELECT b.generation, p.user_token_limit IS NOT NULL OR p.user_cost_limit IS NOT NULL AS limits_users
    FROM usage.budgets b
    JOIN usage.subscriptions s ON s.tenant_id = b.tenant_id
    JOIN usage.plans p ON p.code = s.plan_code
    WHERE b.tenant_id = :tenant_id::bigint AND b.subject_type = 'tenant'
), layers AS MATERIALIZED (
    SELECT b.id, b.layer, b.subject_type, b.subject_id, b.token_limit, b.cost_limit, b.tokens_held, b.cost_held,
           b.generation, b.refusal_announced_at,
           b.period_end <= :now::timestamptz AS is_over,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.tokens_used END AS tokens_used,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.cost_used END AS cost_used,
           CASE WHEN b.period_end <= :now::timestamptz THEN :period_start::timestamptz ELSE b.period_start END AS starts_at,
           CASE WHEN b.period_end <= :now::timestamptz THEN :period_end::timestamptz ELSE b.period_end END AS ends_at
    FROM usage.budgets b
    WHERE b.tenant_id = :tenant_id::bigint
      AND (b.subject_type = 'tenant'
           OR b.subject_type = 'chatbot' AND b.subject_id = :chatbot_id::text
           OR b.subject_type = 'key' AND b.subject_id = :key_id::text
           OR b.subject_type = 'user' AND b.subject_id = :user_id::text)
    ORDER BY b.layer, b.id
    FOR UPDATE
), lapsed AS MATERIALIZED (
    -- Leases that ended must not block anybody, even when the sweep is late.
    SELECT h.id, h.budget_ids, h.tokens, h.cost
    FROM usage.holds h
    WHERE h.tenant_id = :tenant_id::bigint AND h.state = 'held' AND h.expires_at <= :now::timestamptz
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
), freed AS (
    SELECT budget.id, sum(l.tokens)::bigint AS tokens, sum(l.cost) AS cost
    FROM lapsed l CROSS JOIN unnest(l.budget_ids) AS budget (id)
    GROUP BY budget.id
), state AS (
    SELECT l.*,
           l.tokens_held - coalesce(f.tokens, 0) AS tokens_kept,
           l.cost_held - coalesce(f.cost, 0) AS cost_kept,
           l.tokens_used + l.tokens_held - coalesce(f.tokens, 0) + w.tokens > l.token_limit AS lacks_tokens,
           l.cost_used + l.cost_held - coalesce(f.cost, 0) + w.cost > l.cost_limit AS lacks_cost
    FROM layers l CROSS JOIN wanted w LEFT JOIN freed f ON f.id = l.id
), verdict AS (
    SELECT coalesce(
               max(s.generation) FILTER (WHERE s.subject_type = 'tenant') = (SELECT generation FROM known)
               AND (:user_id::text IS NULL OR NOT (SELECT limits_users FROM known) OR bool_or(s.subject_type = 'user')),
               false) AS ready,
           coalesce(NOT bool_or(coalesce(s.lacks_tokens, false) OR coalesce(s.lacks_cost, false)), true) AS fits
    FROM state s
), refusal AS (
    SELECT s.*,
           s.refusal_announced_at IS NULL OR s.refusal_announced_at < greatest(:announce_before::timestamptz, s.starts_at) AS announce
    FROM state s CROSS JOIN verdict v
    WHERE v.ready AND (s.lacks_tokens OR s.lacks_cost)
    ORDER BY s.layer, s.id
    LIMIT 1
), closed AS (
    UPDATE usage.holds h SET state = 'expired', closed_at = :now::timestamptz
    FROM lapsed l, verdict v
    WHERE v.ready AND h.id = l.id
), changed AS (
    SELECT coalesce(s.id, f.id) AS id, s.id IS NOT NULL AS is_layer, coalesce(s.is_over, false) AS is_over,
           coalesce(f.tokens, 0) AS freed_tokens, coalesce(f.cost, 0) AS freed_cost, f.id IS NOT NULL AS is_freed
    FROM state s FULL JOIN freed f ON f.id = s.id
), counted AS (
    UPDATE usage.budgets b
    SET tokens_used = CASE WHEN c.is_over THEN 0 ELSE b.tokens_used END,
        cost_used = CASE WHEN c.is_over THEN 0 ELSE b.cost_used END,
        tokens_notified = CASE WHEN c.is_over THEN 0 ELSE b.tokens_notified END,
        cost_notified = CASE WHEN c.is_over THEN 0 ELSE b.cost_notified END,
        period_start = CASE WHEN c.is_over THEN :period_start::timestamptz ELSE b.period_start END,
        period_end = CASE WHEN c.is_over THEN :period_end::timestamptz ELSE b.period_end END,
        tokens_held = b.tokens_held - c.freed_tokens + CASE WHEN c.is_layer AND v.fits THEN w.tokens ELSE 0 END,
        cost_held = b.cost_held - c.freed_cost + CASE WHEN c.is_layer AND v.fits THEN w.cost ELSE 0 END,
        refusal_announced_at = CASE WHEN r.announce THEN :now::timestamptz ELSE b.refusal_announced_at END
    FROM changed c CROSS JOIN wanted w CROSS JOIN verdict v LEFT JOIN refusal r ON r.announce
    WHERE v.ready AND b.id = c.id AND (v.fits AND c.is_layer OR c.is_over OR c.is_freed OR b.id = r.id)
), opened AS (
    INSERT INTO usage.holds (id, tenant_id, user_id, chatbot_id, key_id, kind, model, input_tokens, tokens, cost, price_id,
                             budget_ids, created_at, expires_at)
    SELECT :hold_id::uuid, :tenant_id::bigint, (:user_id::text)::uuid, (:chatbot_id::text)::uuid, (:key_id::text)::uuid,
           :kind::text, :model::text, :input_tokens::bigint, w.tokens, w.cost, (SELECT id FROM price),
           (SELECT array_agg(s.id ORDER BY s.layer, s.id) FROM state s), :now::timestamptz, :expires_at::timestamptz
    FROM wanted w CROSS JOIN verdict v
    WHERE v.ready AND v.fits
)
SELECT v.ready, v.fits, w.tokens, w.cost, r.subject_type, r.subject_id,
       coalesce(r.lacks_tokens, false) AS lacks_tokens, r.announce, r.ends_at,
       r.token_limit, r.tokens_used, r.tokens_kept, r.cost_limit, r.cost_used, r.cost_kept
FROM verdict v CROSS JOIN wanted w LEFT JOIN refusal r ON true;


-- name: ensure_subscription(tenant_id)!
-- Give a tenant the default plan unless it has one.
INSERT INTO usage.subscriptions (tenant_id, plan_code)
SELECT :tenant_id::bigint, p.code FROM usage.plans p WHERE p.is_default
ON CONFLICT (tenant_id) DO NOTHING;


-- name: ensure_tenant_budget(tenant_id, period_start, period_end)!
-- Open the tenant's budget with the limits of its plan unless it is open.
INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, token_limit, cost_limit, period_start, period_end)
SELECT s.tenant_id, 'tenant', s.tenant_id::text, p.token_limit, p.cost_limit, :period_start::timestamptz, :period_end::timestamptz
FROM usage.subscriptions s JOIN usage.plans p ON p.code = s.plan_code
WHERE s.tenant_id = :tenant_id::bigint
ON CONFLICT ON CONSTRAINT budgets_subject_unique DO NOTHING;


-- name: lock_tenant_budget(tenant_id)$
-- Take the tenant's turn: nothing of it is counted until this transaction ends.
SELECT b.id FROM usage.budgets b WHERE b.tenant_id = :tenant_id::bigint AND b.subject_type = 'tenant' FOR UPDATE;


-- name: find_user_limits(tenant_id)^
-- What the tenant's plan allows each user.
SELECT p.user_token_limit, p.user_cost_limit
FROM usage.subscriptions s JOIN usage.plans p ON p.code = s.plan_code
WHERE s.tenant_id = :tenant_id::bigint;


-- name: open_budget(tenant_id, subject_type, subject_id, token_limit, cost_limit, period_start, period_end)!
-- Open a budget below the tenant's, charged with what the ledger has for it already; the tenant's budget must be locked.
WITH spent AS (
    SELECT coalesce(sum(l.input_tokens + l.output_tokens + l.embedding_tokens), 0)::bigint AS tokens,
           coalesce(sum(l.cost), 0) AS cost
    FROM usage.ledger l
    WHERE l.tenant_id = :tenant_id::bigint
      AND l.occurred_at >= :period_start::timestamptz AND l.occurred_at < :period_end::timestamptz
      AND CASE :subject_type::text WHEN 'user' THEN l.user_id::text WHEN 'chatbot' THEN l.chatbot_id::text END = :subject_id::text
), opened AS (
    INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, token_limit, cost_limit, tokens_used, cost_used,
                               period_start, period_end)
    SELECT :tenant_id::bigint, :subject_type::text, :subject_id::text, :token_limit::bigint, :cost_limit::numeric,
           s.tokens, s.cost, :period_start::timestamptz, :period_end::timestamptz
    FROM spent s
    ON CONFLICT ON CONSTRAINT budgets_subject_unique DO NOTHING
    RETURNING tenant_id
)
UPDATE usage.budgets b SET generation = b.generation + 1
FROM opened o
WHERE b.tenant_id = o.tenant_id AND b.subject_type = 'tenant';


-- name: set_limits(tenant_id, subject_type, subject_id, token_limit, cost_limit, thresholds)!
-- Change the limits that are given; thresholds above the present share of the new limit will be announced again.
UPDATE usage.budgets b
SET token_limit = coalesce(:token_limit::bigint, b.token_limit),
    cost_limit = coalesce(:cost_limit::numeric, b.cost_limit),
    tokens_notified = CASE WHEN :token_limit::bigint IS NULL THEN b.tokens_notified ELSE least(b.tokens_notified, (
        SELECT coalesce(max(t), 0) FROM unnest(:thresholds::smallint[]) AS t
        WHERE b.tokens_used * 100::numeric >= :token_limit::bigint * t::numeric)) END,
    cost_notified = CASE WHEN :cost_limit::numeric IS NULL THEN b.cost_notified ELSE least(b.cost_notified, (
        SELECT coalesce(max(t), 0) FROM unnest(:thresholds::smallint[]) AS t
        WHERE b.cost_used * 100 >= :cost_limit::numeric * t)) END,
    refusal_announced_at = NULL
WHERE b.tenant_id = :tenant_id::bigint AND b.subject_type = :subject_type::text AND b.subject_id = :subject_id::text;


-- name: renew(hold_id, tokens, expires_at)^
-- Prolong an open hold and give back what it will not need; no row when it is not open.
WITH renewing AS MATERIALIZED (
    SELECT h.id, h.budget_ids, h.tokens, h.cost, h.input_tokens, h.kind, h.price_id
    FROM usage.holds h
    WHERE h.id = :hold_id::uuid AND h.state = 'held'
    FOR UPDATE
), target AS (
    SELECT r.id, r.budget_ids, r.tokens, r.cost, kept.tokens AS tokens_kept,
           least(r.cost, CASE
               WHEN p.id IS NULL THEN r.cost
               WHEN r.kind = 'embedding' THEN p.embedding * kept.tokens * 0.000001
               ELSE (p.input * least(kept.tokens, r.input_tokens) + p.output * greatest(kept.tokens - r.input_tokens, 0)) * 0.000001
           END) AS cost_kept
    FROM renewing r
    CROSS JOIN LATERAL (SELECT least(r.tokens, coalesce(:tokens::bigint, r.tokens)) AS tokens) kept
    LEFT JOIN usage.prices p ON p.id = r.price_id
), locked AS MATERIALIZED (
    SELECT b.id FROM usage.budgets b
    WHERE b.id = ANY (coalesce((SELECT t.budget_ids FROM target t WHERE t.tokens_kept < t.tokens), '{}'))
    ORDER BY b.layer, b.id
    FOR UPDATE
), counted AS (
    UPDATE usage.budgets b
    SET tokens_held = b.tokens_held - (t.tokens - t.tokens_kept), cost_held = b.cost_held - (t.cost - t.cost_kept)
    FROM locked l, target t
    WHERE b.id = l.id
)
UPDATE usage.holds h
SET tokens = t.tokens_kept, cost = t.cost_kept, expires_at = greatest(h.expires_at, :expires_at::timestamptz)
FROM target t
WHERE h.id = t.id
RETURNING h.id, h.tokens, h.expires_at;


-- name: release(hold_id, now)$
-- Give an open hold back unused; no row when it is not open.
WITH releasing AS MATERIALIZED (
    SELECT h.id, h.budget_ids, h.tokens, h.cost
    FROM usage.holds h
    WHERE h.id = :hold_id::uuid AND h.state = 'held'
    FOR UPDATE
), locked AS MATERIALIZED (
    SELECT b.id FROM usage.budgets b
    WHERE b.id = ANY (coalesce((SELECT r.budget_ids FROM releasing r), '{}'))
    ORDER BY b.layer, b.id
    FOR UPDATE
), counted AS (
    UPDATE usage.budgets b
    SET tokens_held = b.tokens_held - r.tokens, cost_held = b.cost_held - r.cost
    FROM locked l, releasing r
    WHERE b.id = l.id
)
UPDATE usage.holds h SET state = 'released', closed_at = :now::timestamptz
FROM releasing r
WHERE h.id = r.id
RETURNING h.id;


-- name: expire(now, batch)$
-- Give back holds whose lease has ended, of all tenants; how many.
WITH lapsed AS MATERIALIZED (
    SELECT h.id, h.budget_ids, h.tokens, h.cost
    FROM usage.holds h
    WHERE h.state = 'held' AND h.expires_at <= :now::timestamptz
    ORDER BY h.expires_at
    LIMIT :batch::integer
    FOR UPDATE SKIP LOCKED
), freed AS (
    SELECT budget.id, sum(l.tokens)::bigint AS tokens, sum(l.cost) AS cost
    FROM lapsed l CROSS JOIN unnest(l.budget_ids) AS budget (id)
    GROUP BY budget.id
), locked AS MATERIALIZED (
    SELECT b.id FROM usage.budgets b
    WHERE b.id = ANY (coalesce((SELECT array_agg(f.id) FROM freed f), '{}'))
    ORDER BY b.tenant_id, b.layer, b.id
    FOR UPDATE
), counted AS (
    UPDATE usage.budgets b
    SET tokens_held = b.tokens_held - f.tokens, cost_held = b.cost_held - f.cost
    FROM locked l JOIN freed f ON f.id = l.id
    WHERE b.id = l.id
), closed AS (
    UPDATE usage.holds h SET state = 'expired', closed_at = :now::timestamptz
    FROM lapsed l
    WHERE h.id = l.id
    RETURNING h.id
)
SELECT count(*) FROM closed;


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


-- name: list_budgets(tenant_id, user_id, now)
-- The budgets of a tenant and of one of its users, counting neither a period that is over nor leases that have ended.
SELECT b.subject_type, b.subject_id, b.token_limit, b.cost_limit,
       CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.tokens_used END AS tokens_used,
       CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.cost_used END AS cost_used,
       b.tokens_held - coalesce(lapsed.tokens, 0) AS tokens_held,
       b.cost_held - coalesce(lapsed.cost, 0) AS cost_held
FROM usage.budgets b
LEFT JOIN LATERAL (
    SELECT sum(h.tokens)::bigint AS tokens, sum(h.cost) AS cost
    FROM usage.holds h
    WHERE h.tenant_id = b.tenant_id AND h.state = 'held' AND h.expires_at <= :now::timestamptz AND b.id = ANY (h.budget_ids)
) lapsed ON true
WHERE b.tenant_id = :tenant_id::bigint
  AND (b.subject_type = 'tenant' OR b.subject_type = 'user' AND b.subject_id = :user_id::text);
