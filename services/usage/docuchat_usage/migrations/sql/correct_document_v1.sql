-- Count a document as its row says. What was heard of it before p_settled_before binds nothing: neither a later generation
-- nor a deletion; what was heard since may be newer than that row, and stands. Returns whether it counts otherwise now.
-- Locks: the tenant's turn, then the document and its budgets.
CREATE FUNCTION usage.correct_document_v1(
    p_tenant_id bigint, p_document_id uuid, p_user_id uuid, p_bytes bigint, p_pages bigint, p_generation bigint,
    p_deleted boolean, p_settled_before timestamptz, p_now timestamptz, p_period_start timestamptz, p_period_end timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE SET enable_seqscan TO off AS $$
DECLARE
    v_before usage.stored_documents;
    v_after usage.stored_documents;
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    SELECT * INTO v_before FROM usage.stored_documents d WHERE d.tenant_id = p_tenant_id AND d.document_id = p_document_id;
    IF v_before.seen_at < p_settled_before AND NOT p_deleted THEN
        PERFORM usage.store_document_v1(
            p_tenant_id, p_document_id, NULL, NULL, NULL, NULL, true, NULL, p_now, p_period_start, p_period_end);
        UPDATE usage.stored_documents d
        SET user_id = NULL, bytes = 0, pages = 0, generation = 0, is_uploaded = false, is_deleted = false
        WHERE d.tenant_id = p_tenant_id AND d.document_id = p_document_id;
    END IF;
    PERFORM usage.store_document_v1(
        p_tenant_id, p_document_id, p_user_id, p_bytes, p_pages, p_generation, p_deleted, NULL, p_now, p_period_start,
        p_period_end);
    SELECT * INTO v_after FROM usage.stored_documents d WHERE d.tenant_id = p_tenant_id AND d.document_id = p_document_id;
    RETURN (v_before.bytes, v_before.pages, v_before.generation, v_before.is_uploaded, v_before.is_deleted)
        IS DISTINCT FROM (v_after.bytes, v_after.pages, v_after.generation, v_after.is_uploaded, v_after.is_deleted);
END $$;
