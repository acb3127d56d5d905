-- Bring budgets to the limits that the asker states, then hold as hold_v1 does; a refusal leaves the limits as stated.
-- A limit of NULL counts without an end. What the plan gives to each subject of a type stays the most that it may have.
-- Plans are made while tables are small and kept while they grow: no sequential scans, so that they stay right.
-- Locks: as hold_v1, the tenant's turn first.
CREATE FUNCTION usage.hold_v2(
    p_hold_id uuid, p_tenant_id bigint, p_subject_types text[], p_subject_ids text[], p_kind text, p_provider text,
    p_model text, p_input_tokens bigint, p_output_tokens bigint, p_units text[], p_amounts numeric[],
    p_limit_types text[], p_limit_ids text[], p_limit_units text[], p_limits numeric[],
    p_now timestamptz, p_expires_at timestamptz, p_period_start timestamptz, p_period_end timestamptz,
    p_announce_before timestamptz, p_thresholds smallint[],
    OUT refused boolean, OUT subject_type text, OUT subject_id text, OUT unit text, OUT wanted numeric,
    OUT amount_limit numeric, OUT used numeric, OUT held numeric, OUT resets_at timestamptz, OUT announce boolean)
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off SET plan_cache_mode TO force_generic_plan AS $$
DECLARE
    v record;
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    FOR v IN
        SELECT s.type, s.id, s.unit, least(s.amount, l.amount) AS amount, b.id IS NULL AS is_new
        FROM unnest(p_limit_types, p_limit_ids, p_limit_units, p_limits) AS s (type, id, unit, amount)
        LEFT JOIN usage.subscriptions c ON c.tenant_id = p_tenant_id
        LEFT JOIN usage.plan_limits l
          ON l.plan_code = c.plan_code AND l.subject_type = s.type AND l.unit = s.unit
        LEFT JOIN usage.budgets b
          ON b.tenant_id = p_tenant_id AND b.subject_type = s.type AND b.subject_id = s.id AND b.unit = s.unit
        WHERE b.id IS NULL OR b.amount_limit IS DISTINCT FROM least(s.amount, l.amount)
    LOOP
        IF v.is_new THEN
            PERFORM usage.open_budget_v1(p_tenant_id, v.type, v.id, v.unit, v.amount, p_period_start, p_period_end);
        ELSE
            PERFORM usage.set_limits_v1(
                p_tenant_id, v.type, v.id, ARRAY[v.unit], ARRAY[v.amount], p_period_start, p_period_end, p_thresholds);
        END IF;
    END LOOP;
    SELECT h.refused, h.subject_type, h.subject_id, h.unit, h.wanted, h.amount_limit, h.used, h.held, h.resets_at, h.announce
    INTO refused, subject_type, subject_id, unit, wanted, amount_limit, used, held, resets_at, announce
    FROM usage.hold_v1(
        p_hold_id, p_tenant_id, p_subject_types, p_subject_ids, p_kind, p_provider, p_model, p_input_tokens,
        p_output_tokens, p_units, p_amounts, p_now, p_expires_at, p_period_start, p_period_end, p_announce_before) h;
END $$;
