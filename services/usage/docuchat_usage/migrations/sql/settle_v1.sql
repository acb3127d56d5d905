-- Count the messages and requests of an open hold as used and give the rest back; false when it is not open.
-- What was spent of tokens and money is booked by its own events.
-- Locks: the tenant's turn, the hold, its budgets.
CREATE FUNCTION usage.settle_v1(p_hold_id uuid, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_tenant_id bigint := (SELECT h.tenant_id FROM usage.holds h WHERE h.id = p_hold_id);
BEGIN
    IF v_tenant_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM usage.take_turn_v1(v_tenant_id, NULL, NULL); -- whoever has a hold has its budgets
    RETURN usage.close_holds_v1(ARRAY[p_hold_id], 'settled', p_now) > 0;
END $$;
