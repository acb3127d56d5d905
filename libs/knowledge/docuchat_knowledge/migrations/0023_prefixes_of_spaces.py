"""What a model is sent before queries and passages belongs to the embedding space."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE knowledge.embedding_spaces
    ADD COLUMN query_prefix text NOT NULL DEFAULT '' CHECK (length(query_prefix) <= 1000),
    ADD COLUMN passage_prefix text NOT NULL DEFAULT '' CHECK (length(passage_prefix) <= 1000)
"""
IDENTITY = """
ALTER TABLE knowledge.embedding_spaces
    DROP CONSTRAINT embedding_spaces_identity,
    ADD CONSTRAINT embedding_spaces_identity UNIQUE (provider, model, dimension, query_prefix, passage_prefix)
"""


def upgrade() -> None:
    """Vectors that are there were made without any."""
    op.execute(COLUMNS)
    op.execute(IDENTITY)


downgrade = forward_only
