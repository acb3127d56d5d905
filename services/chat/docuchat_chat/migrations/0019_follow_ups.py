"""A turn remembers what was searched for its question, where that is not the question itself."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added."""
    op.execute("ALTER TABLE chat.turns ADD COLUMN searched_as text")
    op.execute("COMMENT ON COLUMN chat.turns.searched_as IS 'What was searched for the question; null: the question.'")


downgrade = forward_only
