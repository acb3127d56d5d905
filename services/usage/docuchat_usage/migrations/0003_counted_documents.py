"""The documents that count are found by id, to be compared with those that are stored."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX stored_documents_counted ON usage.stored_documents (document_id) "
        "WHERE is_uploaded AND NOT is_deleted"
    )


downgrade = forward_only
