-- Whether the caller that the transaction is for reads what all of the tenant reads. Where nobody is set, as in the work of a
-- service itself and in versions before this one, that is so.
CREATE FUNCTION knowledge.reads_open_v1() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN CASE coalesce(current_setting('app.role', true), '')
    WHEN '' THEN coalesce(current_setting('app.user_id', true), '') = ''
    ELSE current_setting('app.role') IN ('owner', 'admin', 'member', 'viewer')
END;

-- The collections of the tenant in which the caller has at least this access: 'read', 'write' or 'manage'. Looked up as the
-- owner, always for the tenant and the caller that are set.
CREATE FUNCTION knowledge.accessible_v1(wanted text) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    of_tenant bigint := knowledge.current_tenant();
    rights text := coalesce(current_setting('app.role', true), '');
    who uuid[] := nullif(current_setting('app.groups', true), '')::uuid[] || nullif(current_setting('app.user_id', true), '')::uuid;
    levels text[] := CASE wanted WHEN 'read' THEN '{read,write,manage}' WHEN 'write' THEN '{write,manage}' ELSE '{manage}' END;
BEGIN
    IF rights IN ('owner', 'admin') THEN
        RETURN ARRAY(SELECT c.id FROM knowledge.collections c WHERE c.tenant_id = of_tenant);
    ELSIF NOT knowledge.reads_open_v1() OR (rights = 'viewer' AND wanted <> 'read') THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT c.id FROM knowledge.collections c
        WHERE c.tenant_id = of_tenant
          AND ((c.visibility = 'tenant' AND wanted <> 'manage')
               OR c.id IN (SELECT m.collection_id FROM knowledge.collection_members m
                           WHERE m.tenant_id = of_tenant AND m.member_id = ANY (who) AND m.access = ANY (levels))));
END
$$;

-- The collections that the caller may read, found once in a transaction and then remembered in a setting.
CREATE FUNCTION knowledge.readable_v1() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog
AS $$
DECLARE
    caller text := concat_ws('|', current_setting('app.tenant_id', true), current_setting('app.user_id', true),
                             current_setting('app.role', true), current_setting('app.groups', true), '>');
    known text := current_setting('app.readable', true);
    found uuid[];
BEGIN
    IF starts_with(known, caller) THEN
        RETURN substr(known, length(caller) + 1)::uuid[];
    END IF;
    found := knowledge.accessible_v1('read');
    PERFORM set_config('app.readable', caller || found::text, true);
    RETURN found;
END
$$;

-- Of these ids those that are no document of the tenant, whoever may read it: an answer's quotes of it go for good.
CREATE FUNCTION knowledge.deleted_documents_v1(document_ids uuid[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
SELECT wanted.id FROM unnest(document_ids) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM knowledge.documents d
                  WHERE d.id = wanted.id AND d.tenant_id = knowledge.current_tenant() AND d.deleted_at IS NULL)
$$;
