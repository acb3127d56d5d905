"""What a document says of itself, and the heading under which a chunk stands."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE knowledge.documents ADD COLUMN info jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN knowledge.documents.info IS 'Of the file: title, author, page_labels, attachments; what it does not say is missing.';
ALTER TABLE knowledge.chunks ADD COLUMN heading text;
COMMENT ON COLUMN knowledge.chunks.heading IS 'Path of the entry of the outline under which the chunk begins.';
"""


def upgrade() -> None:
    """Both stay empty for documents that were read before."""
    op.execute(COLUMNS)


downgrade = forward_only
