-- What the other functions are made of. Order of locks, everywhere: the tenant's own row (its budget of tokens) first,
-- several tenants by id; whoever owns it has the tenant's turn, so that all its other rows may follow in any order.
-- VOLATILE functions read each statement with a fresh snapshot: what was waited for is seen.

CREATE FUNCTION usage.open_tenant_v1(p_tenant_id bigint, p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO usage.subscriptions (tenant_id, plan_code)
    SELECT p_tenant_id, p.code FROM usage.plans p WHERE p.is_default
    ON CONFLICT (tenant_id) DO NOTHING;
    INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, unit, amount_limit, period_start, period_end)
    SELECT s.tenant_id, 'tenant', s.tenant_id::text, u.name, l.amount,
           CASE WHEN u.is_standing THEN '-infinity' ELSE p_period_start END,
           CASE WHEN u.is_standing THEN 'infinity' ELSE p_period_end END
    FROM usage.subscriptions s
    CROSS JOIN usage.units u
    LEFT JOIN usage.plan_limits l ON l.plan_code = s.plan_code AND l.subject_type = 'tenant' AND l.unit = u.name
    WHERE s.tenant_id = p_tenant_id
    ON CONFLICT ON CONSTRAINT budgets_subject_unique DO NOTHING;
END $$;
COMMENT ON FUNCTION usage.open_tenant_v1 IS 'Give a tenant the default plan and its budgets; again changes nothing.';

CREATE FUNCTION usage.take_turn_v1(p_tenant_id bigint, p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    FOR attempt IN 1..2 LOOP
        PERFORM FROM usage.budgets b
        WHERE b.tenant_id = p_tenant_id AND b.subject_type = 'tenant' AND b.subject_id = p_tenant_id::text
          AND b.unit = 'tokens'
        FOR UPDATE;
        EXIT WHEN FOUND;
        PERFORM usage.open_tenant_v1(p_tenant_id, p_period_start, p_period_end);
    END LOOP;
END $$;
COMMENT ON FUNCTION usage.take_turn_v1 IS
    'Lock the tenant''s own row, opening its budgets when it has none: nothing else of the tenant is counted until this transaction ends.';

CREATE FUNCTION usage.open_budget_v1(
    p_tenant_id bigint, p_subject_type text, p_subject_id text, p_unit text, p_limit numeric,
    p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_used numeric := 0;
    v_standing boolean := (SELECT u.is_standing FROM usage.units u WHERE u.name = p_unit);
BEGIN
    IF p_unit IN ('tokens', 'cost') THEN
        SELECT coalesce(sum(CASE p_unit WHEN 'cost' THEN l.cost ELSE l.input_tokens + l.output_tokens + l.embedding_tokens END), 0)
        INTO v_used
        FROM usage.ledger l
        WHERE l.tenant_id = p_tenant_id AND l.occurred_at >= p_period_start AND l.occurred_at < p_period_end
          AND p_subject_id = CASE p_subject_type
              WHEN 'user' THEN l.user_id WHEN 'chatbot' THEN l.chatbot_id WHEN 'key' THEN l.key_id ELSE l.visitor_id END::text;
    ELSIF v_standing AND p_subject_type = 'user' THEN
        SELECT coalesce(sum(CASE p_unit WHEN 'documents' THEN 1 WHEN 'pages' THEN d.pages ELSE d.bytes END), 0)
        INTO v_used
        FROM usage.stored_documents d
        WHERE d.tenant_id = p_tenant_id AND d.user_id::text = p_subject_id AND d.is_uploaded AND NOT d.is_deleted;
    END IF;
    INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, unit, amount_limit, used, period_start, period_end)
    VALUES (p_tenant_id, p_subject_type, p_subject_id, p_unit, p_limit, v_used,
            CASE WHEN v_standing THEN '-infinity' ELSE p_period_start END,
            CASE WHEN v_standing THEN 'infinity' ELSE p_period_end END)
    ON CONFLICT ON CONSTRAINT budgets_subject_unique DO NOTHING;
END $$;
COMMENT ON FUNCTION usage.open_budget_v1 IS
    'Open a budget below the tenant''s, charged with what was used before; in the tenant''s turn.';

CREATE FUNCTION usage.open_planned_v1(
    p_tenant_id bigint, p_subject_types text[], p_subject_ids text[], p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT s.type, s.id, l.unit, l.amount
        FROM usage.plan_limits l
        JOIN usage.subscriptions c ON c.tenant_id = p_tenant_id AND c.plan_code = l.plan_code
        JOIN unnest(p_subject_types, p_subject_ids) AS s (type, id) ON s.type = l.subject_type
        WHERE l.subject_type <> 'tenant'
          AND NOT EXISTS (
              SELECT FROM usage.budgets b
              WHERE b.tenant_id = p_tenant_id AND b.subject_type = s.type AND b.subject_id = s.id AND b.unit = l.unit)
    LOOP
        PERFORM usage.open_budget_v1(p_tenant_id, v.type, v.id, v.unit, v.amount, p_period_start, p_period_end);
    END LOOP;
END $$;
COMMENT ON FUNCTION usage.open_planned_v1 IS
    'Open the budgets that the tenant''s plan gives to these subjects and that they lack; in the tenant''s turn.';

CREATE FUNCTION usage.price_of_v1(p_provider text, p_model text, p_at timestamptz)
RETURNS SETOF usage.prices LANGUAGE sql STABLE AS $$
    SELECT p.*
    FROM usage.prices p
    WHERE p.provider IN ('*', p_provider)
      AND CASE WHEN right(p.model, 1) = '*' THEN starts_with(p_model, left(p.model, -1)) ELSE p.model = p_model END
      AND p.valid_from <= p_at
    ORDER BY p.provider = '*', right(p.model, 1) = '*', length(p.model) DESC, p.valid_from DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION usage.price_of_v1 IS
    'The most specific price in force: of the provider before of any, an exact model before a pattern, a longer pattern '
    'before a shorter one, a later version before an earlier one.';

CREATE FUNCTION usage.close_holds_v1(p_hold_ids uuid[], p_state text, p_now timestamptz)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_closed bigint;
BEGIN
    WITH closing AS (
        SELECT h.id, h.state, h.budget_ids, h.units, h.amounts
        FROM usage.holds h
        WHERE h.id = ANY (p_hold_ids) AND (h.state = 'held' OR p_state = 'settled' AND h.state <> 'settled')
        FOR UPDATE
    ), closed AS (
        UPDATE usage.holds h SET state = p_state, closed_at = p_now FROM closing c WHERE h.id = c.id
    ), changed AS (
        -- Tokens, money and what is stored are booked from events; a message or a request is used by being settled.
        SELECT b.id, a.unit,
               coalesce(sum(a.amount) FILTER (WHERE c.state = 'held'), 0) AS freed,
               coalesce(sum(a.amount) FILTER (WHERE p_state = 'settled' AND a.unit IN ('messages', 'requests')), 0) AS spent
        FROM closing c CROSS JOIN unnest(c.budget_ids) AS b (id) CROSS JOIN unnest(c.units, c.amounts) AS a (unit, amount)
        GROUP BY b.id, a.unit
    ), counted AS (
        UPDATE usage.budgets b SET held = b.held - c.freed, used = b.used + c.spent
        FROM changed c
        WHERE b.id = c.id AND b.unit = c.unit
    )
    SELECT count(*) INTO v_closed FROM closing;
    RETURN v_closed;
END $$;
COMMENT ON FUNCTION usage.close_holds_v1 IS
    'Close holds that are open and give back what they hold; "settled" also closes those that expired before. In the tenant''s turn.';
