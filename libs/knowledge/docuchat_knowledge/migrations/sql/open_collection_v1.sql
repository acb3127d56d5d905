-- Make a restricted collection that has the id of the chatbot or the subject that it is of, unless it is there. Not by ON CONFLICT,
-- whose row must be one that the caller reads already.
-- Locks: the entry of the primary key, on which those who make it at once wait for one another.
CREATE FUNCTION knowledge.open_collection_v1(
    of_tenant bigint, new_id uuid, new_kind text, new_name text, maker uuid
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog
AS $$
BEGIN
    INSERT INTO knowledge.collections (id, tenant_id, name, kind, owner_id, is_default, visibility, created_by)
    VALUES (new_id, of_tenant, new_name, new_kind, CASE WHEN new_kind = 'attachments' THEN new_id END, false, 'restricted', maker);
EXCEPTION WHEN unique_violation THEN
    NULL;
END
$$;
