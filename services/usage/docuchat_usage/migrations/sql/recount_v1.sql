-- Set a tenant's and its users' standing amounts to the sums of its stored documents. Returns whether any was another.
-- Locks: the tenant's turn, then the budgets that are wrong.
CREATE FUNCTION usage.recount_v1(p_tenant_id bigint, p_period_start timestamptz, p_period_end timestamptz)
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM usage.take_turn_v1(p_tenant_id, p_period_start, p_period_end);
    WITH stored AS (
        SELECT CASE grouping(d.user_id) WHEN 1 THEN 'tenant' ELSE 'user' END AS subject_type,
               CASE grouping(d.user_id) WHEN 1 THEN p_tenant_id::text ELSE d.user_id::text END AS subject_id,
               count(*) AS documents, sum(d.pages) AS pages, sum(d.bytes) AS bytes
        FROM usage.stored_documents d
        WHERE d.tenant_id = p_tenant_id AND d.is_uploaded AND NOT d.is_deleted
        GROUP BY GROUPING SETS ((), (d.user_id))
    ), right_amount AS (
        SELECT b.id, coalesce(CASE b.unit WHEN 'documents' THEN s.documents WHEN 'pages' THEN s.pages ELSE s.bytes END, 0) AS used
        FROM usage.budgets b
        JOIN usage.units u ON u.name = b.unit AND u.is_standing
        LEFT JOIN stored s ON s.subject_type = b.subject_type AND s.subject_id = b.subject_id
        WHERE b.tenant_id = p_tenant_id AND b.subject_type IN ('tenant', 'user')
    )
    UPDATE usage.budgets b SET used = r.used FROM right_amount r WHERE b.id = r.id AND b.used <> r.used;
    RETURN FOUND;
END $$;
