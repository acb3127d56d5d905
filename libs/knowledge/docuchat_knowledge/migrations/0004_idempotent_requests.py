"""Idempotency keys of uploads, settled in the transaction that makes the document."""

from alembic import op

from docuchat_common.db.ddl import forward_only, idempotent_requests_ddl

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        idempotent_requests_ddl("knowledge", app_roles=("docuchat_gateway",), system_roles=("docuchat_gateway_system",))
    )


downgrade = forward_only
