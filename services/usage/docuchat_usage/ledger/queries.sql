-- Every statement that counts locks the tenant's budget first and the others in the order (layer, id): within a tenant
-- they take turns, so that neither overruns nor deadlocks can happen. Holds are locked before budgets, or skipped.

-- name: book(event_id, tenant_id, hold_id, user_id, chatbot_id, chat_id, turn_id, document_id, kind, provider, model, input_tokens, output_tokens, estimated, occurred_at, now, period_start, period_end, thresholds)
-- Write the ledger entry, charge every layer and close the hold; a row for each budget, whose booked is false for a repeated event.
WITH price AS (
    SELECT p.id, p.provider = '*' AND p.model = '*' AS is_fallback,
           CASE WHEN :kind::text = 'embedding' THEN p.embedding * :input_tokens::bigint * 0.000001
                ELSE (p.input * :input_tokens::bigint + p.output * :output_tokens::bigint) * 0.000001 END AS cost
    FROM usage.prices p
    WHERE p.provider IN ('*', :provider::text)
      AND CASE WHEN right(p.model, 1) = '*' THEN starts_with(:model::text, left(p.model, -1)) ELSE p.model = :model::text END
      AND p.valid_from <= :occurred_at::timestamptz
    ORDER BY p.provider = '*', right(p.model, 1) = '*', length(p.model) DESC, p.valid_from DESC
    LIMIT 1
), known AS (
    SELECT b.generation, p.user_token_limit IS NOT NULL OR p.user_cost_limit IS NOT NULL AS limits_users
    FROM usage.budgets b
    JOIN usage.subscriptions s ON s.tenant_id = b.tenant_id
    JOIN usage.plans p ON p.code = s.plan_code
    WHERE b.tenant_id = :tenant_id::bigint AND b.subject_type = 'tenant'
), closing AS MATERIALIZED (
    SELECT h.id, h.state, h.budget_ids, h.tokens, h.cost
    FROM usage.holds h
    WHERE h.id = :hold_id::uuid AND h.tenant_id = :tenant_id::bigint
    FOR UPDATE
), layers AS MATERIALIZED (
    SELECT b.id, b.subject_type, b.generation,
           b.period_end <= :now::timestamptz AS is_over,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.tokens_notified END AS tokens_notified,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.cost_notified END AS cost_notified,
           CASE WHEN b.period_end <= :now::timestamptz THEN :period_start::timestamptz ELSE b.period_start END AS starts_at,
           CASE WHEN b.period_end <= :now::timestamptz THEN :period_end::timestamptz ELSE b.period_end END AS ends_at,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.tokens_used END AS tokens_used,
           CASE WHEN b.period_end <= :now::timestamptz THEN 0 ELSE b.cost_used END AS cost_used
    FROM usage.budgets b
    WHERE b.tenant_id = :tenant_id::bigint
      AND (b.subject_type = 'tenant'
           OR b.subject_type = 'chatbot' AND b.subject_id = :chatbot_id::text
           OR b.subject_type = 'user' AND b.subject_id = :user_id::text
           OR b.id = ANY (coalesce((SELECT c.budget_ids FROM closing c), '{}')))
    ORDER BY b.layer, b.id
    FOR UPDATE
), verdict AS (
    SELECT coalesce(
               max(l.generation) FILTER (WHERE l.subject_type = 'tenant') = (SELECT generation FROM known)
               AND (:user_id::text IS NULL OR NOT (SELECT limits_users FROM known) OR bool_or(l.subject_type = 'user')),
               false) AS ready
    FROM layers l
), entry AS (
    INSERT INTO usage.ledger (tenant_id, event_id, hold_id, user_id, chatbot_id, chat_id, turn_id, document_id, kind,
                              provider, model, input_tokens, output_tokens, embedding_tokens, estimated, cost, price_id,
                              occurred_at, booked_at)
    SELECT :tenant_id::bigint, :event_id::uuid, :hold_id::uuid, (:user_id::text)::uuid, (:chatbot_id::text)::uuid,
           :chat_id::uuid, :turn_id::uuid, :document_id::uuid, :kind::text, :provider::text, :model::text,
           CASE WHEN :kind::text = 'embedding' THEN 0 ELSE :input_tokens::bigint END,
           :output_tokens::bigint,
           CASE WHEN :kind::text = 'embedding' THEN :input_tokens::bigint ELSE 0 END,
           :estimated::boolean, coalesce(p.cost, 0), p.id, :occurred_at::timestamptz, :now::timestamptz
    FROM verdict v LEFT JOIN price p ON true
    WHERE v.ready
    ON CONFLICT ON CONSTRAINT ledger_event_unique DO NOTHING
    RETURNING input_tokens + output_tokens + embedding_tokens AS tokens, cost
), closed AS (
    UPDATE usage.holds h SET state = 'settled', settled_event = :event_id::uuid, closed_at = :now::timestamptz
    FROM closing c, entry e
    WHERE h.id = c.id AND c.state <> 'settled'
), charge AS (
    -- A call that happened in an earlier period is in the ledger, not in this period's counters.
    SELECT l.id, l.is_over, l.tokens_notified, l.cost_notified, l.starts_at, l.ends_at,
           l.tokens_used + CASE WHEN :occurred_at::timestamptz >= l.starts_at THEN e.tokens ELSE 0 END AS tokens_used,
           l.cost_used + CASE WHEN :occurred_at::timestamptz >= l.starts_at THEN e.cost ELSE 0 END AS cost_used,
           coalesce(c.tokens, 0) AS tokens_returned, coalesce(c.cost, 0) AS cost_returned
    FROM layers l CROSS JOIN entry e LEFT JOIN closing c ON c.state = 'held' AND l.id = ANY (c.budget_ids)
), counted AS (
    UPDATE usage.budgets b
    SET tokens_used = c.tokens_used,
        cost_used = c.cost_used,
        tokens_held = b.tokens_held - c.tokens_returned,
        cost_held = b.cost_held - c.cost_returned,
        period_start = c.starts_at,
        period_end = c.ends_at,
        tokens_notified = greatest(c.tokens_notified, (
            SELECT max(t) FROM unnest(:thresholds::smallint[]) AS t WHERE c.tokens_used * 100::numeric >= b.token_limit * t::numeric)),
        cost_notified = greatest(c.cost_notified, (
            SELECT max(t) FROM unnest(:thresholds::smallint[]) AS t WHERE c.cost_used * 100 >= b.cost_limit * t))
    FROM charge c
    WHERE b.id = c.id
    RETURNING b.subject_type, b.subject_id, b.period_start, b.token_limit, b.tokens_used, b.cost_limit, b.cost_used,
              c.tokens_notified AS tokens_before, b.tokens_notified AS tokens_after,
              c.cost_notified AS cost_before, b.cost_notified AS cost_after
)
SELECT v.ready, e.tokens IS NOT NULL AS booked, coalesce(e.cost, 0) AS cost, coalesce(p.is_fallback, true) AS price_is_fallback,
       h.state AS hold_state, c.subject_type, c.subject_id, c.period_start, c.token_limit, c.tokens_used, c.cost_limit, c.cost_used,
       c.tokens_before, c.tokens_after, c.cost_before, c.cost_after
FROM verdict v
LEFT JOIN entry e ON true
LEFT JOIN price p ON true
LEFT JOIN closing h ON true
LEFT JOIN counted c ON true;


-- name: sum_ledger(tenant_id, since, day_ago, week_ago, period_start)
-- Sums of the last day, week and the period, for the tenant, for each model and for each user; read from one index alone.
SELECT grouping(l.model) = 0 AS is_model, grouping(l.user_id) = 0 AS is_user, l.model, l.user_id,
       coalesce(sum(l.input_tokens) FILTER (WHERE l.occurred_at >= :day_ago::timestamptz), 0)::bigint AS day_input,
       coalesce(sum(l.output_tokens) FILTER (WHERE l.occurred_at >= :day_ago::timestamptz), 0)::bigint AS day_output,
       coalesce(sum(l.embedding_tokens) FILTER (WHERE l.occurred_at >= :day_ago::timestamptz), 0)::bigint AS day_embedding,
       coalesce(sum(l.cost) FILTER (WHERE l.occurred_at >= :day_ago::timestamptz), 0) AS day_cost,
       coalesce(sum(l.input_tokens) FILTER (WHERE l.occurred_at >= :week_ago::timestamptz), 0)::bigint AS week_input,
       coalesce(sum(l.output_tokens) FILTER (WHERE l.occurred_at >= :week_ago::timestamptz), 0)::bigint AS week_output,
       coalesce(sum(l.embedding_tokens) FILTER (WHERE l.occurred_at >= :week_ago::timestamptz), 0)::bigint AS week_embedding,
       coalesce(sum(l.cost) FILTER (WHERE l.occurred_at >= :week_ago::timestamptz), 0) AS week_cost,
       coalesce(sum(l.input_tokens) FILTER (WHERE l.occurred_at >= :period_start::timestamptz), 0)::bigint AS period_input,
       coalesce(sum(l.output_tokens) FILTER (WHERE l.occurred_at >= :period_start::timestamptz), 0)::bigint AS period_output,
       coalesce(sum(l.embedding_tokens) FILTER (WHERE l.occurred_at >= :period_start::timestamptz), 0)::bigint AS period_embedding,
       coalesce(sum(l.cost) FILTER (WHERE l.occurred_at >= :period_start::timestamptz), 0) AS period_cost
FROM usage.ledger l
WHERE l.tenant_id = :tenant_id::bigint AND l.occurred_at >= :since::timestamptz
GROUP BY GROUPING SETS ((), (l.model), (l.user_id));
