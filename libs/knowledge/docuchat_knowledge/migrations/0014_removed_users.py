"""What removed users leave is found and taken away by the worker; a service key deletes what it uploaded."""

from alembic import op

from docuchat_common.db.ddl import forward_only, removed_users_ddl

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INGEST, INGEST_SYSTEM = "docuchat_ingest", "docuchat_ingest_system"

STEPS = """
ALTER TABLE knowledge.documents ADD COLUMN uploaded_with uuid;
COMMENT ON COLUMN knowledge.documents.uploaded_with IS 'The tenant''s own API key that uploaded it; null where a user did.';
CREATE INDEX documents_uploader ON knowledge.documents (tenant_id, uploaded_by) WHERE deleted_at IS NULL AND uploaded_by IS NOT NULL;

CREATE POLICY of_removed_users ON knowledge.collection_members TO docuchat_ingest
    USING (tenant_id = knowledge.current_tenant()) WITH CHECK (tenant_id = knowledge.current_tenant());
CREATE POLICY of_removed_users ON knowledge.idempotent_requests TO docuchat_ingest
    USING (tenant_id = knowledge.current_tenant());
CREATE POLICY system_access ON knowledge.collection_members FOR SELECT TO docuchat_ingest_system USING (true);

GRANT SELECT, INSERT, DELETE, UPDATE (access) ON knowledge.collection_members TO docuchat_ingest;
GRANT UPDATE (created_by) ON knowledge.collections TO docuchat_ingest;
GRANT SELECT (tenant_id, subject), DELETE ON knowledge.idempotent_requests TO docuchat_ingest;
GRANT SELECT ON knowledge.collection_members, knowledge.collections TO docuchat_ingest_system;
"""


def upgrade() -> None:
    """Columns, rights and a table are added."""
    op.execute(STEPS)
    op.execute(removed_users_ddl("knowledge", app_roles=(INGEST,), system_roles=(INGEST_SYSTEM,)))


downgrade = forward_only
