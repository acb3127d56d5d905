-- Count a document as stored, from any of its events in any order; each fact counts once, a deletion for good.
-- NULL means that this event does not say it. Settles the hold of the upload.
-- Locks: the tenant's turn, then the document, its budgets and its hold.
CREATE FUNCTION usage.store_document_v1(
    p_tenant_id bigint, p_document_id uuid, p_user_id uuid, p_bytes bigint, p_pages bigint, p_generation bigint,
    p_deleted boolean, p_hold_id uuid, p_now timestamptz, p_period_start timestamptz, p_period_end timestamptz)
RETURNS void LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_before usage.stored_documents;
    v_after usage.stored_documents;
    v_sign_before integer;
    v_sign_after integer;
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    IF p_user_id IS NOT NULL THEN
        PERFORM usage.open_planned_v1(p_tenant_id, ARRAY['user'], ARRAY[p_user_id::text], p_period_start, p_period_end);
    END IF;
    INSERT INTO usage.stored_documents (tenant_id, document_id, seen_at) VALUES (p_tenant_id, p_document_id, p_now)
    ON CONFLICT ON CONSTRAINT stored_documents_pkey DO NOTHING;
    SELECT * INTO v_before FROM usage.stored_documents d WHERE d.tenant_id = p_tenant_id AND d.document_id = p_document_id;
    UPDATE usage.stored_documents d
    SET user_id = coalesce(d.user_id, p_user_id),
        bytes = coalesce(p_bytes, d.bytes),
        is_uploaded = d.is_uploaded OR p_bytes IS NOT NULL,
        pages = CASE WHEN p_generation >= d.generation THEN p_pages ELSE d.pages END,
        generation = greatest(d.generation, p_generation),
        is_deleted = d.is_deleted OR p_deleted,
        seen_at = p_now
    WHERE d.tenant_id = p_tenant_id AND d.document_id = p_document_id
    RETURNING * INTO v_after;
    v_sign_before := (v_before.is_uploaded AND NOT v_before.is_deleted)::integer;
    v_sign_after := (v_after.is_uploaded AND NOT v_after.is_deleted)::integer;
    UPDATE usage.budgets b
    SET used = b.used + c.amount
    FROM (VALUES ('documents', (v_sign_after - v_sign_before)::bigint),
                 ('pages', v_sign_after * v_after.pages - v_sign_before * v_before.pages),
                 ('bytes', v_sign_after * v_after.bytes - v_sign_before * v_before.bytes)) AS c (unit, amount)
    WHERE b.tenant_id = p_tenant_id AND b.unit = c.unit AND c.amount <> 0
      AND (b.subject_type = 'tenant' OR b.subject_type = 'user' AND b.subject_id = v_after.user_id::text);
    IF p_hold_id IS NOT NULL THEN
        PERFORM usage.close_holds_v1(
            ARRAY(SELECT h.id FROM usage.holds h WHERE h.id = p_hold_id AND h.tenant_id = p_tenant_id), 'settled', p_now);
    END IF;
END $$;
