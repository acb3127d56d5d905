"""A chatbot's collection is deleted like others, once its chatbot is gone: only who can ask chat knows that."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

POLICY = """
ALTER POLICY managers ON knowledge.collections USING (id IN (SELECT unnest(knowledge.accessible_v2('manage'))))
"""


def upgrade() -> None:
    """One policy asks for less; attachments are managed by nobody."""
    op.execute(POLICY)


downgrade = forward_only
