"""What is added row by row is guarded row by row, for less."""

from alembic import op

from docuchat_common.db.ddl import forward_only
from docuchat_common.db.row_guards import guard_rows_ddl

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Triggers are put in the place of others, which did the same."""
    op.execute(guard_rows_ddl("chat", "chats", "provider_calls", "idempotent_requests"))


downgrade = forward_only
