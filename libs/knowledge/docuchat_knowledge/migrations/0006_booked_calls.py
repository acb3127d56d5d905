"""The embeddings of documents are compared with the ledger."""

from alembic import op

from docuchat_common.db.ddl import booked_calls_ddl, forward_only

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note what the ledger has."""
    op.execute(booked_calls_ddl("knowledge", system_roles=("docuchat_ingest_system",)))


downgrade = forward_only
