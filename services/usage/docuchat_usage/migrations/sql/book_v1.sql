-- Book a list of usage events, each once: ledger entry, hold, every layer's budgets, thresholds, sums; all or nothing.
-- An event that `corrects` another books the difference to what was booked for that one so far.
-- Plans are made while tables are small and kept while they grow: no sequential scans, so that they stay right.
-- Locks: the tenants' turns by id, then their holds, budgets and sums.
CREATE FUNCTION usage.book_v1(
    p_events jsonb, p_now timestamptz, p_period_start timestamptz, p_period_end timestamptz, p_thresholds smallint[])
RETURNS jsonb LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off SET plan_cache_mode TO force_generic_plan AS $$
DECLARE
    v record;
    v_tenant_id bigint;
    v_new usage.ledger[]; -- carried along: nothing is read from the growing table again
    v_entries jsonb;
    v_crossings jsonb;
BEGIN
    FOR v_tenant_id IN SELECT DISTINCT (e ->> 'tenant_id')::bigint FROM jsonb_array_elements(p_events) AS e ORDER BY 1 LOOP
        PERFORM usage.take_turn_v1(v_tenant_id, p_period_start, p_period_end);
    END LOOP;

    IF EXISTS (SELECT FROM usage.plan_limits l WHERE l.subject_type <> 'tenant') THEN
        FOR v IN
            SELECT (e ->> 'tenant_id')::bigint AS tenant_id, array_agg(DISTINCT s.type) AS types, s.id
            FROM jsonb_array_elements(p_events) AS e
            CROSS JOIN LATERAL (VALUES ('chatbot', e ->> 'chatbot_id'), ('key', e ->> 'key_id'), ('user', e ->> 'user_id'),
                                       ('visitor', e ->> 'visitor_id')) AS s (type, id)
            WHERE s.id IS NOT NULL
            GROUP BY 1, s.type, s.id
        LOOP
            PERFORM usage.open_planned_v1(v.tenant_id, v.types, ARRAY[v.id], p_period_start, p_period_end);
        END LOOP;
    END IF;

    WITH entry AS (
        INSERT INTO usage.ledger (tenant_id, event_id, hold_id, user_id, chatbot_id, key_id, visitor_id, chat_id, turn_id,
                                  document_id, kind, provider, model, input_tokens, output_tokens, embedding_tokens,
                                  estimated, cost, price_id, occurred_at, booked_at)
        SELECT e.tenant_id, e.event_id, e.hold_id, e.user_id, e.chatbot_id, e.key_id, e.visitor_id, e.chat_id, e.turn_id,
               e.document_id, e.kind, e.provider, e.model,
               CASE e.kind WHEN 'embedding' THEN 0 ELSE e.input_tokens END, e.output_tokens,
               CASE e.kind WHEN 'embedding' THEN e.input_tokens ELSE 0 END, e.estimated,
               coalesce(CASE e.kind WHEN 'embedding' THEN p.embedding * e.input_tokens * 0.000001
                        ELSE (p.input * e.input_tokens + p.output * e.output_tokens) * 0.000001 END, 0),
               p.id, e.occurred_at, p_now
        FROM jsonb_to_recordset(p_events) AS e (
            tenant_id bigint, event_id uuid, hold_id uuid, user_id uuid, chatbot_id uuid, key_id uuid, visitor_id uuid,
            chat_id uuid, turn_id uuid, document_id uuid, kind text, provider text, model text, input_tokens bigint,
            output_tokens bigint, estimated boolean, occurred_at timestamptz, corrects uuid)
        LEFT JOIN LATERAL usage.price_of_v1(e.provider, e.model, e.occurred_at) p ON true
        WHERE e.corrects IS NULL
        ON CONFLICT ON CONSTRAINT ledger_event_unique DO NOTHING
        RETURNING *
    )
    SELECT coalesce(array_agg(ROW(e.*)::usage.ledger), '{}') INTO v_new FROM entry e;

    v_new := v_new || usage.correct_v1(p_events, p_now);

    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'event_id', l.event_id, 'cost', l.cost, 'hold_state', h.state,
               'is_fallback', p.id IS NULL OR p.provider = '*' AND p.model = '*')), '[]')
    INTO v_entries
    FROM unnest(v_new) AS l
    LEFT JOIN usage.prices p ON p.id = l.price_id
    LEFT JOIN usage.holds h ON h.id = l.hold_id AND h.tenant_id = l.tenant_id;

    PERFORM usage.close_holds_v1(ARRAY(
        SELECT h.id FROM unnest(v_new) AS l JOIN usage.holds h ON h.id = l.hold_id AND h.tenant_id = l.tenant_id),
        'settled', p_now);

    WITH entry AS (
        SELECT l.id, l.tenant_id, l.user_id, l.chatbot_id, l.key_id, l.visitor_id, l.hold_id, l.occurred_at, l.cost,
               l.input_tokens + l.output_tokens + l.embedding_tokens AS tokens
        FROM unnest(v_new) AS l
    ), layer AS (
        -- Those that the event names, and those that its hold counted.
        SELECT e.id AS entry_id, b.id AS budget_id
        FROM entry e
        CROSS JOIN LATERAL (VALUES ('tenant', e.tenant_id::text), ('chatbot', e.chatbot_id::text), ('key', e.key_id::text),
                                   ('user', e.user_id::text), ('visitor', e.visitor_id::text)) AS s (type, id)
        CROSS JOIN (VALUES ('tokens'), ('cost')) AS u (unit)
        JOIN usage.budgets b
          ON b.tenant_id = e.tenant_id AND b.subject_type = s.type AND b.subject_id = s.id AND b.unit = u.unit
        UNION
        SELECT e.id, b.id
        FROM entry e
        JOIN usage.holds h ON h.id = e.hold_id AND h.tenant_id = e.tenant_id
        JOIN usage.budgets b ON b.id = ANY (h.budget_ids) AND b.unit IN ('tokens', 'cost')
    ), charge AS (
        -- A call that happened in an earlier period is in the ledger, not in this period's counters.
        SELECT b.id, b.period_end <= p_now AS is_over,
               sum(CASE WHEN e.occurred_at < CASE WHEN b.period_end <= p_now THEN p_period_start ELSE b.period_start END THEN 0
                        WHEN b.unit = 'cost' THEN e.cost ELSE e.tokens END) AS amount
        FROM layer l JOIN entry e ON e.id = l.entry_id JOIN usage.budgets b ON b.id = l.budget_id
        GROUP BY b.id
    ), counted AS (
        UPDATE usage.budgets b
        SET used = n.used,
            period_start = CASE WHEN c.is_over THEN p_period_start ELSE b.period_start END,
            period_end = CASE WHEN c.is_over THEN p_period_end ELSE b.period_end END,
            refusal_announced_at = CASE WHEN c.is_over THEN NULL ELSE b.refusal_announced_at END,
            notified = greatest(n.notified, (SELECT max(t) FROM unnest(p_thresholds) AS t WHERE n.used * 100 >= n.amount_limit * t))
        FROM charge c
        CROSS JOIN LATERAL (
            SELECT o.amount_limit, CASE WHEN c.is_over THEN 0 ELSE o.used END + c.amount AS used,
                   CASE WHEN c.is_over THEN 0::smallint ELSE o.notified END AS notified
            FROM usage.budgets o WHERE o.id = c.id) n
        WHERE b.id = c.id
        RETURNING b.tenant_id, b.subject_type, b.subject_id, b.unit, b.period_start, b.used, b.amount_limit,
                  n.notified AS before, b.notified AS after
    )
    SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') INTO v_crossings FROM counted c WHERE c.after > c.before;

    INSERT INTO usage.sums (tenant_id, span, starts_at, user_id, model, kind, input_tokens, output_tokens, embedding_tokens, cost)
    SELECT l.tenant_id, s.span, date_trunc(s.span, l.occurred_at, 'UTC'), l.user_id, l.model, l.kind,
           sum(l.input_tokens), sum(l.output_tokens), sum(l.embedding_tokens), sum(l.cost)
    FROM unnest(v_new) AS l CROSS JOIN (VALUES ('hour'), ('day')) AS s (span)
    GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT ON CONSTRAINT sums_unique DO UPDATE
    SET input_tokens = sums.input_tokens + excluded.input_tokens,
        output_tokens = sums.output_tokens + excluded.output_tokens,
        embedding_tokens = sums.embedding_tokens + excluded.embedding_tokens,
        cost = sums.cost + excluded.cost;

    RETURN jsonb_build_object('entries', v_entries, 'crossings', v_crossings);
END $$;
