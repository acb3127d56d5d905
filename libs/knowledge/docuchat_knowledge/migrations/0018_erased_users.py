"""What is erased of a user is counted."""

from alembic import op

from docuchat_common.db.ddl import erased_users_ddl, forward_only

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns are added."""
    op.execute(erased_users_ddl("knowledge", app_roles=("docuchat_ingest",)))


downgrade = forward_only
