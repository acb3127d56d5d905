"""The worker's sweeps tell how many documents an earlier embedding model left behind."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let them see which space is the present one."""
    op.execute("GRANT SELECT ON knowledge.embedding_spaces TO docuchat_ingest_system")


downgrade = forward_only
