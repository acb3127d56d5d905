"""Archives of what is kept of a tenant, or of one of its people."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, guard_ddl, tenant_policy_ddl

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE knowledge.exports (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    user_id uuid,
    requested_by uuid NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CONSTRAINT exports_state CHECK (state IN ('queued', 'running', 'ready', 'failed')),
    worker_id integer,
    attempts integer NOT NULL DEFAULT 0,
    not_before timestamptz NOT NULL DEFAULT now(),
    blob_key text,
    size_bytes bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    CONSTRAINT exports_ready CHECK ((state = 'ready') = (blob_key IS NOT NULL AND size_bytes IS NOT NULL)),
    CONSTRAINT exports_running CHECK ((state = 'running') = (worker_id IS NOT NULL))
);
CREATE UNIQUE INDEX exports_unfinished ON knowledge.exports (tenant_id, user_id) NULLS NOT DISTINCT
    WHERE state IN ('queued', 'running');
CREATE INDEX exports_newest ON knowledge.exports (tenant_id, id DESC);
CREATE INDEX exports_expiry ON knowledge.exports (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE knowledge.exports IS 'Archives that were asked for; of one person with a user_id, else of the tenant.';

GRANT SELECT, INSERT ON knowledge.exports TO docuchat_gateway;
GRANT SELECT, UPDATE ON knowledge.exports TO docuchat_ingest;
GRANT SELECT, UPDATE, DELETE ON knowledge.exports TO docuchat_ingest_system;
"""


def upgrade() -> None:
    """A table is added."""
    op.execute(TABLE)
    op.execute(
        tenant_policy_ddl(
            "knowledge.exports",
            app_roles=("docuchat_gateway", "docuchat_ingest"),
            system_roles=("docuchat_ingest_system",),
        )
    )
    op.execute(guard_ddl("knowledge", "exports"))
    op.execute(erasable_ddl("knowledge", "exports"))


downgrade = forward_only
