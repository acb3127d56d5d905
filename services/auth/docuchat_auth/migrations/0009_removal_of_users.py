"""Users can be removed."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT DELETE ON auth.users TO docuchat_auth")


downgrade = forward_only
