-- Write the entries of those events that correct an earlier one: what is missing to the right figures, at the price of the
-- earlier one and on its day. Returns the new entries. In the tenants' turns.
CREATE FUNCTION usage.correct_v1(p_events jsonb, p_now timestamptz) RETURNS usage.ledger[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v record;
    v_entry usage.ledger;
    v_new usage.ledger[] := '{}';
BEGIN
    FOR v IN
        SELECT * FROM jsonb_to_recordset(p_events) AS e (
            tenant_id bigint, event_id uuid, input_tokens bigint, output_tokens bigint, estimated boolean, corrects uuid)
        WHERE e.corrects IS NOT NULL
    LOOP
        INSERT INTO usage.ledger (entry, corrects, tenant_id, event_id, hold_id, user_id, chatbot_id, key_id, visitor_id,
                                  chat_id, turn_id, document_id, kind, provider, model, input_tokens, output_tokens,
                                  embedding_tokens, estimated, cost, price_id, occurred_at, booked_at)
        SELECT 'correction', v.corrects, o.tenant_id, v.event_id, o.hold_id, o.user_id, o.chatbot_id, o.key_id, o.visitor_id,
               o.chat_id, o.turn_id, o.document_id, o.kind, o.provider, o.model,
               CASE o.kind WHEN 'embedding' THEN 0 ELSE v.input_tokens - b.input_tokens END,
               v.output_tokens - b.output_tokens,
               CASE o.kind WHEN 'embedding' THEN v.input_tokens - b.embedding_tokens ELSE 0 END,
               v.estimated,
               coalesce(CASE o.kind WHEN 'embedding' THEN p.embedding * v.input_tokens * 0.000001
                        ELSE (p.input * v.input_tokens + p.output * v.output_tokens) * 0.000001 END, 0) - b.cost,
               o.price_id, o.occurred_at, p_now
        FROM usage.ledger o
        CROSS JOIN LATERAL (
            SELECT sum(x.input_tokens) AS input_tokens, sum(x.output_tokens) AS output_tokens,
                   sum(x.embedding_tokens) AS embedding_tokens, sum(x.cost) AS cost
            FROM usage.ledger x WHERE x.event_id = v.corrects OR x.corrects = v.corrects) b
        LEFT JOIN usage.prices p ON p.id = o.price_id
        WHERE o.event_id = v.corrects AND o.tenant_id = v.tenant_id
        ON CONFLICT ON CONSTRAINT ledger_event_unique DO NOTHING
        RETURNING * INTO v_entry;
        IF FOUND THEN
            v_new := v_new || v_entry;
        ELSIF NOT EXISTS (SELECT FROM usage.ledger l WHERE l.event_id = v.event_id) THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'the entry to correct is not booked yet';
        END IF;
    END LOOP;
    RETURN v_new;
END $$;
