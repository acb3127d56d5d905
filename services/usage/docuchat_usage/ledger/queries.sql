-- name: book(events, now, period_start, period_end, thresholds)$
-- Book a list of usage events, each once; the new entries and the thresholds that were passed.
SELECT usage.book_v1(
    :events::jsonb, :now::timestamptz, :period_start::timestamptz, :period_end::timestamptz, :thresholds::smallint[]);


-- name: sum_usage(tenant_id, day, day_hour, day_day, week, week_hour, week_day, period_start)
-- Sums of the last day, week and the period, for the tenant, for each model and for each user: entries of the ledger up to
-- the window's first full hour, hours up to its first full day, days from there on.
WITH piece AS (
    SELECT 'day' AS span, l.user_id, l.model, l.input_tokens, l.output_tokens, l.embedding_tokens, l.cost
    FROM usage.ledger l
    WHERE l.tenant_id = :tenant_id::bigint AND l.occurred_at >= :day::timestamptz AND l.occurred_at < :day_hour::timestamptz
    UNION ALL
    SELECT 'day', s.user_id, s.model, s.input_tokens, s.output_tokens, s.embedding_tokens, s.cost
    FROM usage.sums s
    WHERE s.tenant_id = :tenant_id::bigint AND s.span = 'hour'
      AND s.starts_at >= :day_hour::timestamptz AND s.starts_at < :day_day::timestamptz
    UNION ALL
    SELECT 'day', s.user_id, s.model, s.input_tokens, s.output_tokens, s.embedding_tokens, s.cost
    FROM usage.sums s
    WHERE s.tenant_id = :tenant_id::bigint AND s.span = 'day' AND s.starts_at >= :day_day::timestamptz
    UNION ALL
    SELECT 'week', l.user_id, l.model, l.input_tokens, l.output_tokens, l.embedding_tokens, l.cost
    FROM usage.ledger l
    WHERE l.tenant_id = :tenant_id::bigint AND l.occurred_at >= :week::timestamptz AND l.occurred_at < :week_hour::timestamptz
    UNION ALL
    SELECT 'week', s.user_id, s.model, s.input_tokens, s.output_tokens, s.embedding_tokens, s.cost
    FROM usage.sums s
    WHERE s.tenant_id = :tenant_id::bigint AND s.span = 'hour'
      AND s.starts_at >= :week_hour::timestamptz AND s.starts_at < :week_day::timestamptz
    UNION ALL
    SELECT 'week', s.user_id, s.model, s.input_tokens, s.output_tokens, s.embedding_tokens, s.cost
    FROM usage.sums s
    WHERE s.tenant_id = :tenant_id::bigint AND s.span = 'day' AND s.starts_at >= :week_day::timestamptz
    UNION ALL
    SELECT 'period', s.user_id, s.model, s.input_tokens, s.output_tokens, s.embedding_tokens, s.cost
    FROM usage.sums s
    WHERE s.tenant_id = :tenant_id::bigint AND s.span = 'day' AND s.starts_at >= :period_start::timestamptz
)
SELECT p.span, grouping(p.model) = 0 AS is_model, grouping(p.user_id) = 0 AS is_user, p.model, p.user_id,
       sum(p.input_tokens)::bigint AS input_tokens, sum(p.output_tokens)::bigint AS output_tokens,
       sum(p.embedding_tokens)::bigint AS embedding_tokens, sum(p.cost) AS cost
FROM piece p
GROUP BY GROUPING SETS ((p.span), (p.span, p.model), (p.span, p.user_id));


-- name: list_booked(event_ids)
-- Those of some events that have an entry.
SELECT l.event_id FROM usage.ledger l WHERE l.event_id = ANY (:event_ids::uuid[]);


-- name: forget_entries(before, batch)$
-- Forget entries that were booked long ago; how many. Their sums stay.
WITH old AS (
    SELECT l.id FROM usage.ledger l WHERE l.booked_at < :before::timestamptz LIMIT :batch::integer
), gone AS (
    DELETE FROM usage.ledger l USING old o WHERE l.id = o.id RETURNING l.id
)
SELECT count(*) FROM gone;


-- name: strip(tenant_id, max_rows)$
-- Leave people, chats and documents out of entries of a tenant that is being erased; how many.
SELECT usage.strip_ledger_v1(:tenant_id::bigint, :max_rows::bigint);


-- name: forget_hours(before)!
-- Forget sums by the hour that no window reaches any more.
DELETE FROM usage.sums s WHERE s.span = 'hour' AND s.starts_at < :before::timestamptz;
