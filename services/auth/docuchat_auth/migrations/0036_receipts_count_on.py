"""What is erased of a person after the user is counted where it is erased, whatever stops it midway."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The system role may add to what went with the user."""
    op.execute("GRANT UPDATE (erased) ON auth.user_receipts TO docuchat_auth_system")


downgrade = forward_only
