"""Question embeddings are compared with the ledger, as turns are."""

from alembic import op

from docuchat_common.db.ddl import booked_calls_ddl, forward_only

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note what the ledger has."""
    op.execute(booked_calls_ddl("chat", system_roles=("docuchat_chat_system",)))


downgrade = forward_only
