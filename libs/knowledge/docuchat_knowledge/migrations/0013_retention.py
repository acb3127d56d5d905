"""Tenants choose for how long they keep documents."""

from alembic import op

from docuchat_common.db.ddl import forward_only, retention_ddl

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Without a rule, for ever."""
    op.execute(retention_ddl("knowledge", app_roles=("docuchat_ingest",), system_roles=("docuchat_ingest_system",)))


downgrade = forward_only
