"""Idempotency keys of creating requests."""

from alembic import op

from docuchat_common.db.ddl import forward_only, idempotent_requests_ddl

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.execute(idempotent_requests_ddl("auth", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",)))


downgrade = forward_only
