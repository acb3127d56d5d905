"""What a document was uploaded for, when OpenAI's client said so."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

PURPOSE = """
ALTER TABLE knowledge.documents
    ADD COLUMN purpose text CHECK (purpose IN ('assistants', 'user_data'))
"""


def upgrade() -> None:
    """Documents that are there were uploaded without any."""
    op.execute(PURPOSE)


downgrade = forward_only
