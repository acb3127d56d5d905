-- Whether the caller that the transaction is for reads what all of the tenant reads. Where nobody is set, as in the work of a
-- service itself, that is so; where the transaction names its collections, it reads those and nothing besides.
CREATE FUNCTION knowledge.reads_open_v2() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN coalesce(current_setting('app.collections', true), '') = '' AND CASE coalesce(current_setting('app.role', true), '')
    WHEN '' THEN coalesce(current_setting('app.user_id', true), '') = ''
    ELSE current_setting('app.role') IN ('owner', 'admin', 'member', 'viewer')
END;

-- The collections of the tenant in which the caller has at least this access: 'read', 'write' or 'manage'; or 'search', which is
-- 'read' without the caller's own attachments. Where app.collections names some, these are read and searched, whoever asks, and
-- nothing is written; but attachments are their owner's alone. Looked up as the owner of the tables, always for the tenant and
-- the caller that are set. A collection of attachments has the id of its owner, so that no others' are walked over.
CREATE FUNCTION knowledge.accessible_v2(wanted text) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
DECLARE
    of_tenant bigint := knowledge.current_tenant();
    named text := coalesce(current_setting('app.collections', true), '');
    rights text := coalesce(current_setting('app.role', true), '');
    who uuid[] := nullif(current_setting('app.groups', true), '')::uuid[] || nullif(current_setting('app.user_id', true), '')::uuid;
    changes boolean := wanted IN ('write', 'manage');
    levels text[] := CASE wanted WHEN 'write' THEN '{write,manage}' WHEN 'manage' THEN '{manage}' ELSE '{read,write,manage}' END;
    found uuid[];
BEGIN
    IF named <> '' THEN
        IF NOT changes THEN
            found := ARRAY(SELECT c.id FROM knowledge.collections c
                           WHERE c.id = ANY (named::uuid[]) AND c.tenant_id = of_tenant
                             AND (c.kind <> 'attachments' OR c.owner_id = ANY (who)));
        END IF;
        RETURN coalesce(found, '{}');
    ELSIF NOT knowledge.reads_open_v2() THEN
        RETURN '{}';
    ELSIF rights IN ('owner', 'admin') THEN
        found := ARRAY(SELECT c.id FROM knowledge.collections c WHERE c.tenant_id = of_tenant AND c.kind <> 'attachments');
    ELSIF rights <> 'viewer' OR NOT changes THEN
        found := ARRAY(
            SELECT c.id FROM knowledge.collections c
            WHERE c.tenant_id = of_tenant AND c.kind <> 'attachments'
              AND ((c.visibility = 'tenant' AND wanted <> 'manage')
                   OR c.id IN (SELECT m.collection_id FROM knowledge.collection_members m
                               WHERE m.tenant_id = of_tenant AND m.member_id = ANY (who) AND m.access = ANY (levels))));
    END IF;
    IF wanted IN ('read', 'write') THEN
        found := found || ARRAY(SELECT c.id FROM knowledge.collections c
                                WHERE c.id = ANY (who) AND c.tenant_id = of_tenant AND c.kind = 'attachments');
    END IF;
    RETURN coalesce(found, '{}');
END
$$;

-- The collections that the caller may 'read' or 'search', found once in a transaction and then remembered in a setting.
CREATE FUNCTION knowledge.readable_v2(wanted text) RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog
AS $$
DECLARE
    remembered text := CASE wanted WHEN 'read' THEN 'app.readable' ELSE 'app.searched' END;
    caller text := concat_ws('|', current_setting('app.tenant_id', true), current_setting('app.user_id', true),
                             current_setting('app.role', true), current_setting('app.groups', true),
                             current_setting('app.collections', true), '>');
    known text := current_setting(remembered, true);
    found uuid[];
BEGIN
    IF starts_with(known, caller) THEN
        RETURN substr(known, length(caller) + 1)::uuid[];
    END IF;
    found := knowledge.accessible_v2(wanted);
    PERFORM set_config(remembered, caller || found::text, true);
    RETURN found;
END
$$;

-- The keys of a word in the collections that the caller searches, or in one of them: as before, by the function of this version.
CREATE OR REPLACE FUNCTION knowledge.readable_term_keys_v1(lexemes text[], of_collection uuid) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN (SELECT coalesce(array_agg(hashtextextended(l.lexeme, uuid_hash_extended(c.id, 0))), '{}')
        FROM unnest(knowledge.readable_v2('search')) AS c (id) CROSS JOIN unnest(lexemes) AS l (lexeme)
        WHERE of_collection IS NULL OR c.id = of_collection);

-- for processes of the version before
CREATE OR REPLACE FUNCTION knowledge.reads_open_v1() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN knowledge.reads_open_v2();
CREATE OR REPLACE FUNCTION knowledge.accessible_v1(wanted text) RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
RETURN knowledge.accessible_v2(wanted);
CREATE OR REPLACE FUNCTION knowledge.readable_v1() RETURNS uuid[]
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog
RETURN knowledge.readable_v2('search');
