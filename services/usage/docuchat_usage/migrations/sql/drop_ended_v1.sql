-- Drop budgets whose period is over, of subjects whose limits are stated with each hold; how many. Who comes again gets a new
-- one. Tenants whose turn somebody has are left to the next sweep.
-- Locks: the tenants' turns by id, then of each its budgets.
CREATE FUNCTION usage.drop_ended_v1(p_now timestamptz, p_batch integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_tenant_id bigint;
    v_count bigint;
    v_dropped bigint := 0;
BEGIN
    FOR v_tenant_id IN
        SELECT DISTINCT ended.tenant_id
        FROM (SELECT b.tenant_id FROM usage.budgets b
              WHERE b.subject_type IN ('chatbot', 'visitor', 'address', 'visitors') AND b.period_end <= p_now AND b.held = 0
              LIMIT p_batch) ended
        ORDER BY ended.tenant_id
    LOOP
        PERFORM FROM usage.budgets b
        WHERE b.tenant_id = v_tenant_id AND b.subject_type = 'tenant' AND b.subject_id = v_tenant_id::text
          AND b.unit = 'tokens'
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        DELETE FROM usage.budgets d
        WHERE d.id = ANY (ARRAY(
            SELECT b.id FROM usage.budgets b
            WHERE b.tenant_id = v_tenant_id AND b.subject_type IN ('chatbot', 'visitor', 'address', 'visitors')
              AND b.period_end <= p_now AND b.held = 0
            LIMIT p_batch));
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_dropped := v_dropped + v_count;
    END LOOP;
    RETURN v_dropped;
END $$;
