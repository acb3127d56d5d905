"""For how long things are kept is shortened after a time of grace."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE auth.tenants
    ADD COLUMN next_chats_days integer,
    ADD COLUMN next_documents_days integer,
    ADD COLUMN retention_changes_at timestamptz,
    ADD CONSTRAINT tenants_next_retention CHECK (next_chats_days >= 1 AND next_documents_days >= 1),
    ADD CONSTRAINT tenants_next_retention_dated
        CHECK (retention_changes_at IS NOT NULL OR num_nonnulls(next_chats_days, next_documents_days) = 0);
COMMENT ON COLUMN auth.tenants.retention_changes_at IS 'When the next days take the place of the present ones; null: none are planned.';
COMMENT ON COLUMN auth.tenants.next_chats_days IS 'As chats_days, from retention_changes_at on.';
COMMENT ON COLUMN auth.tenants.next_documents_days IS 'As documents_days, from retention_changes_at on.';
GRANT UPDATE (next_chats_days, next_documents_days, retention_changes_at) ON auth.tenants TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_COLUMNS)


downgrade = forward_only
