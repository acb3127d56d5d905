"""A row before the blob, copies per uploader, what was not read, spaces with a weight and a present one, provider calls."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only, provider_calls_ddl

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INGEST, INGEST_SYSTEM = "docuchat_ingest", "docuchat_ingest_system"

DOCUMENTS = """
ALTER TABLE knowledge.documents
    DROP CONSTRAINT documents_status,
    ADD CONSTRAINT documents_status CHECK (status IN ('receiving', 'queued', 'processing', 'ready', 'failed')),
    ADD COLUMN space_id integer REFERENCES knowledge.embedding_spaces (id),
    ADD COLUMN pages_unread integer NOT NULL DEFAULT 0,
    ADD COLUMN warnings text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN knowledge.documents.status IS 'receiving: the row that stands before its file, seen by nobody.';
COMMENT ON COLUMN knowledge.documents.space_id IS 'Of the vectors of the live generation.';
COMMENT ON COLUMN knowledge.documents.warnings IS 'Codes of what a reader of answers should know about this document.';

DROP INDEX knowledge.documents_content;
CREATE UNIQUE INDEX documents_content ON knowledge.documents (tenant_id, collection_id, sha256, uploaded_by) NULLS NOT DISTINCT
    WHERE deleted_at IS NULL AND status <> 'receiving';
CREATE INDEX documents_receiving ON knowledge.documents (updated_at) WHERE status = 'receiving' AND deleted_at IS NULL;
"""

SPACES = """
ALTER TABLE knowledge.embedding_spaces
    ADD COLUMN vector_weight real NOT NULL DEFAULT 0.4
        CONSTRAINT embedding_spaces_vector_weight CHECK (vector_weight BETWEEN 0 AND 10),
    ADD COLUMN is_current boolean NOT NULL DEFAULT false;
UPDATE knowledge.embedding_spaces SET vector_weight = 0.25 WHERE provider = 'wordllama';
CREATE UNIQUE INDEX embedding_spaces_current ON knowledge.embedding_spaces (is_current) WHERE is_current;
COMMENT ON COLUMN knowledge.embedding_spaces.vector_weight IS 'What cosines weigh in a search beside words (1): how far the model can be trusted.';
COMMENT ON COLUMN knowledge.embedding_spaces.is_current IS 'The space of the settings that set-up last ran with: documents in another are found by words alone.';
"""

# forced row-level security binds the owner too: lifted while the rows of all tenants are filled in
BACKFILL = """
ALTER TABLE knowledge.documents NO FORCE ROW LEVEL SECURITY;
ALTER TABLE knowledge.chunk_vectors NO FORCE ROW LEVEL SECURITY;
UPDATE knowledge.documents d
SET space_id = (SELECT v.space_id FROM knowledge.chunk_vectors v
                WHERE v.document_id = d.id AND v.generation = d.generation LIMIT 1)
WHERE d.generation > 0;
ALTER TABLE knowledge.documents FORCE ROW LEVEL SECURITY;
ALTER TABLE knowledge.chunk_vectors FORCE ROW LEVEL SECURITY;
"""

GRANTS = """
REVOKE ALL ON FUNCTION knowledge.register_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION knowledge.register_v1 TO docuchat_gateway;
GRANT SELECT ON knowledge.embedding_spaces TO docuchat_gateway, docuchat_gateway_system;
GRANT SELECT ON knowledge.documents TO docuchat_gateway_system;
GRANT UPDATE (status, attempts, queued_at, not_before, pages_done, error_code, error_detail, retryable, updated_at)
    ON knowledge.documents TO docuchat_gateway_system;
"""


def upgrade() -> None:
    """Expand; nothing that revision 0001 reads or writes is taken away."""
    op.execute(DOCUMENTS)
    op.execute(SPACES)
    op.execute(BACKFILL)
    op.execute((Path(__file__).parent / "sql" / "register_v1.sql").read_text("utf-8"))
    op.execute(GRANTS)
    op.execute(provider_calls_ddl("knowledge", app_roles=(INGEST,), system_roles=(INGEST_SYSTEM,)))


downgrade = forward_only
