"""Who may read a document may not change it, and who may write in a collection may neither rename nor open it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# restrictive, as those of reading: on top of the tenant's, for the gateway alone
POLICIES = """
CREATE POLICY changers ON knowledge.documents AS RESTRICTIVE FOR UPDATE TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v1('write'))));
CREATE POLICY removers ON knowledge.documents AS RESTRICTIVE FOR DELETE TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v1('write'))));
CREATE POLICY removers ON knowledge.chunks AS RESTRICTIVE FOR DELETE TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v1('write'))));
CREATE POLICY removers ON knowledge.chunk_vectors AS RESTRICTIVE FOR DELETE TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v1('write'))));

-- the tenant's first is made for whoever uploads first
CREATE POLICY makers ON knowledge.collections AS RESTRICTIVE FOR INSERT TO docuchat_gateway
    WITH CHECK (current_setting('app.role', true) IN ('owner', 'admin')
                OR (is_default AND (SELECT knowledge.reads_open_v1()) AND current_setting('app.role', true) IS DISTINCT FROM 'viewer'));
-- its counts change with each document that is deleted
CREATE POLICY changers ON knowledge.collections AS RESTRICTIVE FOR UPDATE TO docuchat_gateway
    USING (id IN (SELECT unnest(knowledge.accessible_v1('write'))));
"""

# a policy knows rows and no columns
MANAGERS = """
CREATE FUNCTION knowledge.require_manager_v1() RETURNS trigger LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
BEGIN
    IF NEW.id = ANY (knowledge.accessible_v1('manage')) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'the name and visibility of a collection are its managers'' to say';
END $$;
REVOKE ALL ON FUNCTION knowledge.require_manager_v1 FROM PUBLIC;
CREATE TRIGGER managers BEFORE UPDATE OF name, visibility ON knowledge.collections
    FOR EACH ROW WHEN (current_user = 'docuchat_gateway') EXECUTE FUNCTION knowledge.require_manager_v1();
"""

# of documents that the worker deletes, what their uploads were answered goes, too
GRANT = "GRANT SELECT (reference) ON knowledge.idempotent_requests TO docuchat_ingest"


def upgrade() -> None:
    """Processes of the version before go on: they ask for the same rights, a moment earlier."""
    op.execute(POLICIES)
    op.execute(MANAGERS)
    op.execute(GRANT)


downgrade = forward_only
