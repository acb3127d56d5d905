"""Questions use the idempotency keys that all services share; those of one day, in clear, go with their table."""

from alembic import op

from docuchat_common.db.ddl import forward_only, idempotent_requests_ddl

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the table."""
    op.execute("DROP TABLE chat.idempotency_keys")
    op.execute(idempotent_requests_ddl("chat", app_roles=("docuchat_chat",), system_roles=("docuchat_chat_system",)))


downgrade = forward_only
