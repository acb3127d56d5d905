"""A turn keeps what of its request is told again with its answer, for protocols that do so."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added."""
    op.execute("ALTER TABLE chat.turns ADD COLUMN given jsonb")
    op.execute("COMMENT ON COLUMN chat.turns.given IS 'What of the request is told again; null: nothing.'")


downgrade = forward_only
