"""What a company's directory calls users and groups."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, guard_ddl, tenant_policy_ddl

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE auth.external_ids (
    tenant_id integer NOT NULL,
    user_id uuid,
    group_id uuid,
    external_id text NOT NULL,
    CONSTRAINT external_ids_user_key UNIQUE (tenant_id, user_id),
    CONSTRAINT external_ids_group_key UNIQUE (tenant_id, group_id),
    CONSTRAINT external_ids_of_one CHECK (num_nonnulls(user_id, group_id) = 1),
    CONSTRAINT external_ids_length CHECK (length(external_id) BETWEEN 1 AND 300),
    CONSTRAINT external_ids_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT external_ids_group_fkey FOREIGN KEY (tenant_id, group_id)
        REFERENCES auth.groups (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX external_ids_name ON auth.external_ids (tenant_id, external_id);
COMMENT ON TABLE auth.external_ids IS 'What a company''s directory calls users and groups.';
GRANT SELECT, INSERT, UPDATE (external_id) ON auth.external_ids TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.external_ids", app_roles=("docuchat_auth",)))
    op.execute(guard_ddl("auth", "external_ids"))
    op.execute(erasable_ddl("auth", "external_ids"))


downgrade = forward_only
