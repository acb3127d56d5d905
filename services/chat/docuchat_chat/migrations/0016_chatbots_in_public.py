"""Whose chatbot it is that a page names: who asks has no tenant yet."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the system role find the tenant of a chatbot, and nothing else of it."""
    op.execute("GRANT SELECT (id, tenant_id) ON chat.chatbots TO docuchat_chat_system")


downgrade = forward_only
