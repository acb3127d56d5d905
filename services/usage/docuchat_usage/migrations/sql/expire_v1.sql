-- Give back holds whose lease has ended, of all tenants; how many. Tenants whose turn somebody has are left to the next sweep.
-- Locks: the tenants' turns by id, then of each its lapsed holds and their budgets.
CREATE FUNCTION usage.expire_v1(p_now timestamptz, p_batch integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_tenant_id bigint;
    v_expired bigint := 0;
BEGIN
    FOR v_tenant_id IN
        SELECT DISTINCT lapsed.tenant_id
        FROM (SELECT h.tenant_id FROM usage.holds h
              WHERE h.state = 'held' AND h.expires_at <= p_now ORDER BY h.expires_at LIMIT p_batch) lapsed
        ORDER BY lapsed.tenant_id
    LOOP
        PERFORM FROM usage.budgets b
        WHERE b.tenant_id = v_tenant_id AND b.subject_type = 'tenant' AND b.subject_id = v_tenant_id::text
          AND b.unit = 'tokens'
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        v_expired := v_expired + usage.close_holds_v1(
            ARRAY(SELECT h.id FROM usage.holds h
                  WHERE h.tenant_id = v_tenant_id AND h.state = 'held' AND h.expires_at <= p_now LIMIT p_batch),
            'expired', p_now);
    END LOOP;
    RETURN v_expired;
END $$;
