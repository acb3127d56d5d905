"""A deleted tenant leaves nothing."""

from alembic import op

from docuchat_common.db.ddl import erasure_ddl, forward_only

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Messages and turns refer to their chat."""
    op.execute(
        erasure_ddl(
            "chat",
            guarded=("chats", "provider_calls", "idempotent_requests"),
            app_roles=("docuchat_chat",),
            system_roles=("docuchat_chat_system",),
        )
    )


downgrade = forward_only
