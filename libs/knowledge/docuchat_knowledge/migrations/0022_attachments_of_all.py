"""Attachments that no chat has are looked for."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

INDEX = "CREATE INDEX collections_attachments ON knowledge.collections (id) WHERE kind = 'attachments'"


def upgrade() -> None:
    """An index is added."""
    op.execute(INDEX)


downgrade = forward_only
