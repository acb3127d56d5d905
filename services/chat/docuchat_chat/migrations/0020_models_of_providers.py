"""A turn remembers what its provider calls the model, where that is not what it is called here."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added."""
    op.execute("ALTER TABLE chat.turns ADD COLUMN provider_model text")
    op.execute("COMMENT ON COLUMN chat.turns.provider_model IS 'As it is sent and booked; null: as in model.'")


downgrade = forward_only
