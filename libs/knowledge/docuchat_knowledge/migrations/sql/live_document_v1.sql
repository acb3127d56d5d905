-- A document that is not deleted, with its live generation, by one probe of an index (OFFSET 0: whatever a plan knows of the
-- tables). Without SET, and not SECURITY DEFINER, so that the planner can put this text in the place of a call.
CREATE FUNCTION knowledge.live_document_v1(of_tenant bigint, document_id uuid)
RETURNS TABLE (id uuid, generation integer, title text, filename text)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY INVOKER ROWS 1
AS $$
SELECT d.id, d.generation, d.title, d.filename FROM knowledge.documents d
WHERE d.id = document_id AND d.tenant_id = of_tenant AND d.deleted_at IS NULL OFFSET 0
$$;
