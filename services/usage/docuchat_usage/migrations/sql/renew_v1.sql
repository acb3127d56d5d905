-- Prolong an open hold and give back what it will not need; no answer when it is not open. A hold never grows.
-- Locks: the tenant's turn, the hold, its budgets.
CREATE FUNCTION usage.renew_v1(
    p_hold_id uuid, p_tokens bigint, p_expires_at timestamptz,
    OUT tokens bigint, OUT expires_at timestamptz)
LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_hold usage.holds;
    v_tenant_id bigint := (SELECT h.tenant_id FROM usage.holds h WHERE h.id = p_hold_id);
    v_cost numeric;
    v_kept numeric[];
BEGIN
    IF v_tenant_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage.take_turn_v1(v_tenant_id, NULL, NULL); -- whoever has a hold has its budgets
    SELECT * INTO v_hold FROM usage.holds h WHERE h.id = p_hold_id AND h.state = 'held' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    tokens := coalesce(v_hold.amounts[array_position(v_hold.units, 'tokens')], 0);
    expires_at := greatest(v_hold.expires_at, p_expires_at);
    v_kept := v_hold.amounts;
    IF p_tokens < tokens THEN
        tokens := p_tokens;
        SELECT CASE v_hold.kind WHEN 'embedding' THEN p.embedding * tokens * 0.000001
               ELSE (p.input * least(tokens, v_hold.input_tokens)
                     + p.output * greatest(tokens - v_hold.input_tokens, 0)) * 0.000001 END
        INTO v_cost
        FROM usage.prices p WHERE p.id = v_hold.price_id;
        v_kept := ARRAY(
            SELECT CASE a.unit WHEN 'tokens' THEN tokens WHEN 'cost' THEN least(a.amount, coalesce(v_cost, a.amount))
                   ELSE a.amount END
            FROM unnest(v_hold.units, v_hold.amounts) WITH ORDINALITY AS a (unit, amount, place) ORDER BY a.place);
        UPDATE usage.budgets b
        SET held = b.held - (a.before - a.after)
        FROM unnest(v_hold.units, v_hold.amounts, v_kept) AS a (unit, before, after)
        WHERE b.id = ANY (v_hold.budget_ids) AND b.unit = a.unit AND a.after <> a.before;
    END IF;
    UPDATE usage.holds h SET amounts = v_kept, expires_at = renew_v1.expires_at WHERE h.id = p_hold_id;
END $$;
