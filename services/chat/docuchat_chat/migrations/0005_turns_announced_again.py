"""A turn that the ledger does not have is announced again once in a while, and does not stand before the others."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TURNS = """
ALTER TABLE chat.turns ADD COLUMN announced_again_at timestamptz;
GRANT SELECT (announced_again_at) ON chat.turns TO docuchat_chat_system;
DROP INDEX chat.turns_unbooked;
CREATE INDEX turns_unbooked ON chat.turns (coalesce(announced_again_at, finished_at))
    WHERE input_tokens IS NOT NULL AND booked_at IS NULL;
"""


def upgrade() -> None:
    """Note when."""
    op.execute(TURNS)


downgrade = forward_only
