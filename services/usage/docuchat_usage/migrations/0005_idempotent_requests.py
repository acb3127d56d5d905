"""Idempotency keys of creating requests."""

from alembic import op

from docuchat_common.db.ddl import forward_only, idempotent_requests_ddl

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; prices are set by the system role, which settles their keys."""
    op.execute(idempotent_requests_ddl("usage", app_roles=("docuchat_usage",), system_roles=("docuchat_usage_system",)))
    op.execute("GRANT SELECT, UPDATE ON usage.idempotent_requests TO docuchat_usage_system")


downgrade = forward_only
