"""A document is counted as its row says, and a tenant's standing amounts by its documents."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("correct_document", "recount"):
        op.execute((Path(__file__).parent / "sql" / f"{name}_v1.sql").read_text())


downgrade = forward_only
