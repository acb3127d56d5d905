"""How long documents take is asked of the collections that a reader may see."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX documents_recent_in_collection ON knowledge.documents (tenant_id, collection_id, ready_at DESC)
    WHERE status = 'ready' AND deleted_at IS NULL
"""


def upgrade() -> None:
    """By tenant alone, what a reader may not see would be walked over."""
    op.execute(INDEX)
    op.execute("DROP INDEX knowledge.documents_recent")


downgrade = forward_only
