-- As in accounts_v1, but what a visitor has spent is read by the visitor's own index: visitors are many, come all the time,
-- and the tenant's turn is held meanwhile.
CREATE OR REPLACE FUNCTION usage.open_budget_v1(
    p_tenant_id bigint, p_subject_type text, p_subject_id text, p_unit text, p_limit numeric,
    p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_used numeric := 0;
    v_standing boolean := (SELECT u.is_standing FROM usage.units u WHERE u.name = p_unit);
BEGIN
    IF p_unit IN ('tokens', 'cost') AND p_subject_type = 'visitor' THEN
        SELECT coalesce(sum(CASE p_unit WHEN 'cost' THEN l.cost ELSE l.input_tokens + l.output_tokens + l.embedding_tokens END), 0)
        INTO v_used
        FROM usage.ledger l
        WHERE l.tenant_id = p_tenant_id AND l.visitor_id = p_subject_id::uuid
          AND l.occurred_at >= p_period_start AND l.occurred_at < p_period_end;
    ELSIF p_unit IN ('tokens', 'cost') AND p_subject_type IN ('chatbot', 'key', 'user') THEN
        SELECT coalesce(sum(CASE p_unit WHEN 'cost' THEN l.cost ELSE l.input_tokens + l.output_tokens + l.embedding_tokens END), 0)
        INTO v_used
        FROM usage.ledger l
        WHERE l.tenant_id = p_tenant_id AND l.occurred_at >= p_period_start AND l.occurred_at < p_period_end
          AND p_subject_id = CASE p_subject_type
              WHEN 'user' THEN l.user_id WHEN 'chatbot' THEN l.chatbot_id ELSE l.key_id END::text;
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
