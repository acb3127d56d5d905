-- Take a removed user out of the counts: documents are counted for the heir, or for the tenant alone until they are deleted;
-- the budgets of the user and of the user's keys go. Says how many budgets went. The ledger keeps the user's id, and no name.
-- Locks: the tenant's turn, then its documents and budgets.
CREATE FUNCTION usage.remove_user_v1(
    p_tenant_id bigint, p_user_id uuid, p_key_ids uuid[], p_heir uuid, p_period_start timestamptz, p_period_end timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_gone bigint;
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    IF p_heir IS NOT NULL THEN
        PERFORM usage.open_planned_v1(p_tenant_id, ARRAY['user'], ARRAY[p_heir::text], p_period_start, p_period_end);
    END IF;
    UPDATE usage.stored_documents d SET user_id = p_heir WHERE d.tenant_id = p_tenant_id AND d.user_id = p_user_id;
    DELETE FROM usage.budgets b
    WHERE b.tenant_id = p_tenant_id
      AND (b.subject_type = 'user' AND b.subject_id = p_user_id::text
           OR b.subject_type = 'key' AND b.subject_id = ANY (p_key_ids::text[]));
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    PERFORM usage.recount_v1(p_tenant_id, p_period_start, p_period_end);
    RETURN v_gone;
END $$;
