-- Queue a document as if it were new; what is live of it stays so until it is replaced. The caller has locked the row and
-- judged that it may be queued. Gives the row as it is then.
CREATE FUNCTION knowledge.requeue_v1(of_tenant bigint, document_id uuid) RETURNS SETOF knowledge.documents
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog ROWS 1
AS $$
BEGIN
    RETURN QUERY
    UPDATE knowledge.documents d
    SET status = 'queued', attempts = 0, queued_at = now(), not_before = now(), pages_done = 0,
        error_code = NULL, error_detail = NULL, retryable = NULL, updated_at = now()
    WHERE d.tenant_id = of_tenant AND d.id = document_id
    RETURNING d.*;
END
$$;
