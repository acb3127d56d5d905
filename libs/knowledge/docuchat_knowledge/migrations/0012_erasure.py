"""A deleted tenant leaves nothing."""

from alembic import op

from docuchat_common.db.ddl import erasure_ddl, forward_only

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Chunks refer to their document, vectors to their chunk, members to their collection."""
    op.execute(
        erasure_ddl(
            "knowledge",
            guarded=("collections", "documents", "provider_calls", "idempotent_requests"),
            app_roles=("docuchat_gateway", "docuchat_ingest"),
            system_roles=("docuchat_gateway_system", "docuchat_ingest_system"),
        )
    )


downgrade = forward_only
