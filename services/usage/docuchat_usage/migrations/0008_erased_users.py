"""What is erased of a user is counted."""

from alembic import op

from docuchat_common.db.ddl import erased_users_ddl, forward_only

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns are added."""
    op.execute(erased_users_ddl("usage", app_roles=("docuchat_usage",)))


downgrade = forward_only
