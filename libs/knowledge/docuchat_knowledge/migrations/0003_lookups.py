"""An index by generation, rights for the notices about outdated vectors."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns, so that no plan without statistics takes the tenant's index for a lookup by document."""
    op.execute("CREATE INDEX chunk_vectors_place ON knowledge.chunk_vectors (document_id, generation)")
    op.execute("DROP INDEX knowledge.chunk_vectors_document")
    op.execute("GRANT SELECT ON knowledge.embedding_spaces TO docuchat_ingest_system")


downgrade = forward_only
