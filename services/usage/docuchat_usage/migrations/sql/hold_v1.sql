-- Set amounts aside in every budget of the subjects, or in none.
-- Plans are made while tables are small and kept while they grow: no sequential scans, so that they stay right.
-- Locks: the tenant's turn, then its lapsed holds and the budgets of the subjects.
CREATE FUNCTION usage.hold_v1(
    p_hold_id uuid, p_tenant_id bigint, p_subject_types text[], p_subject_ids text[], p_kind text, p_provider text,
    p_model text, p_input_tokens bigint, p_output_tokens bigint, p_units text[], p_amounts numeric[],
    p_now timestamptz, p_expires_at timestamptz, p_period_start timestamptz, p_period_end timestamptz,
    p_announce_before timestamptz,
    OUT refused boolean, OUT subject_type text, OUT subject_id text, OUT unit text, OUT wanted numeric,
    OUT amount_limit numeric, OUT used numeric, OUT held numeric, OUT resets_at timestamptz, OUT announce boolean)
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off SET plan_cache_mode TO force_generic_plan AS $$
DECLARE
    v_units text[] := p_units;
    v_amounts numeric[] := p_amounts;
    v_price_id bigint;
    v_cost numeric := 0;
    v_lapsed uuid[];
    v_budget_ids bigint[];
    v_budget_id bigint;
    v_announced timestamptz;
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);

    -- Leases that ended must not block anybody, even when the sweep is late.
    v_lapsed := ARRAY(
        SELECT h.id FROM usage.holds h
        WHERE h.tenant_id = p_tenant_id AND h.state = 'held' AND h.expires_at <= p_now LIMIT 1000);
    IF cardinality(v_lapsed) > 0 THEN
        PERFORM usage.close_holds_v1(v_lapsed, 'expired', p_now);
    END IF;

    PERFORM usage.open_planned_v1(p_tenant_id, p_subject_types, p_subject_ids, p_period_start, p_period_end);

    IF p_model IS NOT NULL THEN
        SELECT p.id, CASE p_kind WHEN 'embedding' THEN p.embedding * p_input_tokens * 0.000001
                     ELSE (p.input * p_input_tokens + p.output * p_output_tokens) * 0.000001 END
        INTO v_price_id, v_cost
        FROM usage.price_of_v1(p_provider, p_model, p_now) p;
        v_units := v_units || ARRAY['tokens', 'cost'];
        v_amounts := v_amounts || ARRAY[(p_input_tokens + p_output_tokens)::numeric, coalesce(v_cost, 0)];
    END IF;

    SELECT b.id, b.subject_type, b.subject_id, b.unit, w.amount, b.amount_limit,
           CASE WHEN b.period_end <= p_now THEN 0 ELSE b.used END, b.held,
           nullif(CASE WHEN b.period_end <= p_now THEN p_period_end ELSE b.period_end END, 'infinity'),
           b.refusal_announced_at
    INTO v_budget_id, subject_type, subject_id, unit, wanted, amount_limit, used, held, resets_at, v_announced
    FROM unnest(p_subject_types, p_subject_ids) AS s (type, id)
    CROSS JOIN unnest(v_units, v_amounts) AS w (unit, amount)
    JOIN usage.budgets b
      ON b.tenant_id = p_tenant_id AND b.subject_type = s.type AND b.subject_id = s.id AND b.unit = w.unit
    WHERE CASE WHEN b.period_end <= p_now THEN 0 ELSE b.used END + b.held + w.amount > b.amount_limit
    ORDER BY b.layer, b.id
    LIMIT 1;
    refused := FOUND;
    IF refused THEN
        -- Only what is spent is news; that others hold it passes by itself.
        announce := used + wanted > amount_limit AND coalesce(v_announced < p_announce_before, true);
        IF announce THEN
            UPDATE usage.budgets b SET refusal_announced_at = p_now WHERE b.id = v_budget_id;
        END IF;
        RETURN;
    END IF;

    WITH counted AS (
        UPDATE usage.budgets b
        SET held = b.held + w.amount,
            used = CASE WHEN b.period_end <= p_now THEN 0 ELSE b.used END,
            notified = CASE WHEN b.period_end <= p_now THEN 0 ELSE b.notified END,
            refusal_announced_at = CASE WHEN b.period_end <= p_now THEN NULL ELSE b.refusal_announced_at END,
            period_start = CASE WHEN b.period_end <= p_now THEN p_period_start ELSE b.period_start END,
            period_end = CASE WHEN b.period_end <= p_now THEN p_period_end ELSE b.period_end END
        FROM unnest(p_subject_types, p_subject_ids) AS s (type, id), unnest(v_units, v_amounts) AS w (unit, amount)
        WHERE b.tenant_id = p_tenant_id AND b.subject_type = s.type AND b.subject_id = s.id AND b.unit = w.unit
        RETURNING b.id
    )
    SELECT array_agg(c.id ORDER BY c.id) INTO v_budget_ids FROM counted c;

    INSERT INTO usage.holds (id, tenant_id, subject_types, subject_ids, kind, provider, model, input_tokens, units, amounts,
                             price_id, budget_ids, created_at, expires_at)
    VALUES (p_hold_id, p_tenant_id, p_subject_types, p_subject_ids, p_kind, p_provider, p_model, p_input_tokens, v_units,
            v_amounts, v_price_id, v_budget_ids, p_now, p_expires_at);
END $$;
