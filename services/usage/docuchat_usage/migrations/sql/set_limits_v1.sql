-- Set what a subject may use, unit by unit; no limit is NULL. False when the tenant is not known.
-- Thresholds above the present share of a new limit will be announced again.
-- Locks: the tenant's turn, then the subject's budgets.
CREATE FUNCTION usage.set_limits_v1(
    p_tenant_id bigint, p_subject_type text, p_subject_id text, p_units text[], p_limits numeric[],
    p_period_start timestamptz, p_period_end timestamptz, p_thresholds smallint[])
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v record;
BEGIN
    IF NOT EXISTS (SELECT FROM usage.subscriptions s WHERE s.tenant_id = p_tenant_id) THEN
        RETURN false;
    END IF;
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    FOR v IN SELECT l.unit, l.amount FROM unnest(p_units, p_limits) AS l (unit, amount) LOOP
        PERFORM usage.open_budget_v1(
            p_tenant_id, p_subject_type, p_subject_id, v.unit, v.amount, p_period_start, p_period_end);
        UPDATE usage.budgets b
        SET amount_limit = v.amount,
            notified = least(b.notified, (
                SELECT coalesce(max(t), 0) FROM unnest(p_thresholds) AS t WHERE b.used * 100 >= v.amount * t)),
            refusal_announced_at = NULL
        WHERE b.tenant_id = p_tenant_id AND b.subject_type = p_subject_type AND b.subject_id = p_subject_id
          AND b.unit = v.unit;
    END LOOP;
    RETURN true;
END $$;
