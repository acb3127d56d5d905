"""All sessions of a user end in one step, and the oldest when there are too many: what is live is found at once."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX refresh_tokens_live ON auth.refresh_tokens (tenant_id, user_id, created_at, id) "
        "WHERE used_at IS NULL AND revoked_at IS NULL"
    )


downgrade = forward_only
