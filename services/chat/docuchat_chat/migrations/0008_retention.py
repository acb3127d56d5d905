"""Tenants choose for how long they keep chats."""

from alembic import op

from docuchat_common.db.ddl import forward_only, retention_ddl

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Without a rule, for ever."""
    op.execute(retention_ddl("chat", app_roles=("docuchat_chat",), system_roles=("docuchat_chat_system",)))


downgrade = forward_only
