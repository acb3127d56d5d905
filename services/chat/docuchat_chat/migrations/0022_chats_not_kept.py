"""Chats that are not kept: what a client asked without wanting it stored."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added, and what the sweep finds such chats by."""
    op.execute("ALTER TABLE chat.chats ADD COLUMN is_kept boolean NOT NULL DEFAULT true")
    op.execute(
        "COMMENT ON COLUMN chat.chats.is_kept IS 'Otherwise shown nowhere, and deleted once its turn is booked.'"
    )
    op.execute("CREATE INDEX chats_not_kept ON chat.chats (created_at) WHERE NOT is_kept")
    op.execute("GRANT SELECT (is_kept, created_at) ON chat.chats TO docuchat_chat_system")


downgrade = forward_only
