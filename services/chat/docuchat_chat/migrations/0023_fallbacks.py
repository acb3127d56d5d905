"""A turn remembers in place of which model another answers, and why."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column is added."""
    op.execute("ALTER TABLE chat.turns ADD COLUMN fallback jsonb")
    op.execute(
        "COMMENT ON COLUMN chat.turns.fallback IS 'The model that was asked first, why another answers, and the hold of "
        "the first call while that has the message; null: the first answers.'"
    )


downgrade = forward_only
