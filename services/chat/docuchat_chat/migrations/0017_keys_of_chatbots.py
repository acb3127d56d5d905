"""A turn remembers the chatbot's key that asked, so that whoever settles it books it on that key."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added."""
    op.execute("ALTER TABLE chat.turns ADD COLUMN key_id uuid")
    op.execute("COMMENT ON COLUMN chat.turns.key_id IS 'The API key with which a chatbot''s program asked.'")


downgrade = forward_only
