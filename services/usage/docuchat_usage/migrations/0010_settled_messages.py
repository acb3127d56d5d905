"""Messages that were answered without a model count, too: the hold of such a message is settled by itself."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Services of before release such holds, which goes on working."""
    op.execute((Path(__file__).parent / "sql" / "settle_v1.sql").read_text("utf-8"))


downgrade = forward_only
