"""Removed users are counted no more."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only, removed_users_ddl

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STEPS = """
CREATE INDEX stored_documents_user ON usage.stored_documents (tenant_id, user_id) WHERE user_id IS NOT NULL;
GRANT DELETE ON usage.budgets TO docuchat_usage;
"""


def upgrade() -> None:
    op.execute(STEPS)
    op.execute((Path(__file__).parent / "sql" / "remove_user_v1.sql").read_text("utf-8"))
    op.execute(removed_users_ddl("usage", app_roles=("docuchat_usage",), system_roles=("docuchat_usage_system",)))


downgrade = forward_only
