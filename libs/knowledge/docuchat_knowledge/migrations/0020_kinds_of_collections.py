"""Chatbots and chats have collections of their own, and a transaction may name what it reads."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMNS = """
ALTER TABLE knowledge.collections
    ADD COLUMN kind text NOT NULL DEFAULT 'documents'
        CONSTRAINT collections_kind CHECK (kind IN ('documents', 'chatbot', 'attachments')),
    ADD COLUMN owner_id uuid,
    ADD CONSTRAINT collections_of_a_kind_are_restricted
        CHECK (kind = 'documents' OR (visibility = 'restricted' AND NOT is_default)),
    ADD CONSTRAINT collections_attachments CHECK (
        CASE WHEN kind = 'attachments' THEN owner_id IS NOT NULL AND id = owner_id ELSE owner_id IS NULL END);
COMMENT ON COLUMN knowledge.collections.kind IS 'documents; chatbot: has the chatbot''s id; attachments: of files in chats, has its owner''s id.';
COMMENT ON COLUMN knowledge.collections.owner_id IS 'Who alone reads attachments.';
CREATE INDEX collections_listed ON knowledge.collections (tenant_id, id DESC) WHERE kind <> 'attachments';
"""

# As revisions 0009, 0010 and 0016 made them, by the functions of this version. Chat reads its callers' attachments as documents
# (what an answer cites has a name), and as text only where a transaction names them.
POLICIES = """
ALTER POLICY readers ON knowledge.documents USING (collection_id IN (SELECT unnest(knowledge.readable_v2('read'))));
ALTER POLICY readers ON knowledge.chunks TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.readable_v2('read'))));
ALTER POLICY readers ON knowledge.chunk_vectors TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.readable_v2('read'))));
ALTER POLICY readers ON knowledge.collections TO docuchat_gateway
    USING (id IN (SELECT unnest(knowledge.readable_v2('read')))
           OR (visibility = 'tenant' AND (SELECT knowledge.reads_open_v2())));
CREATE POLICY searched ON knowledge.chunks AS RESTRICTIVE TO docuchat_chat
    USING (collection_id IN (SELECT unnest(knowledge.readable_v2('search'))));
CREATE POLICY searched ON knowledge.chunk_vectors AS RESTRICTIVE TO docuchat_chat
    USING (collection_id IN (SELECT unnest(knowledge.readable_v2('search'))));
CREATE POLICY searched ON knowledge.collections AS RESTRICTIVE FOR SELECT TO docuchat_chat
    USING (id IN (SELECT unnest(knowledge.readable_v2('search')))
           OR (visibility = 'tenant' AND (SELECT knowledge.reads_open_v2())));

ALTER POLICY writers ON knowledge.documents
    WITH CHECK (collection_id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY changers ON knowledge.documents USING (collection_id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY removers ON knowledge.documents USING (collection_id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY removers ON knowledge.chunks USING (collection_id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY removers ON knowledge.chunk_vectors USING (collection_id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY changers ON knowledge.collections USING (id IN (SELECT unnest(knowledge.accessible_v2('write'))));
ALTER POLICY managers ON knowledge.collections
    USING (kind = 'documents' AND id IN (SELECT unnest(knowledge.accessible_v2('manage'))));
ALTER POLICY managers ON knowledge.collection_members
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v2('manage'))));
-- a collection for attachments is made by whoever attaches first, and is theirs
ALTER POLICY makers ON knowledge.collections
    WITH CHECK (coalesce(current_setting('app.collections', true), '') = ''
                AND CASE WHEN kind = 'attachments'
                         THEN (SELECT knowledge.reads_open_v2())
                              AND owner_id = ANY (nullif(current_setting('app.groups', true), '')::uuid[]
                                                  || nullif(current_setting('app.user_id', true), '')::uuid)
                         ELSE current_setting('app.role', true) IN ('owner', 'admin')
                              OR (is_default AND (SELECT knowledge.reads_open_v2())
                                  AND current_setting('app.role', true) IS DISTINCT FROM 'viewer')
                    END);
"""

# the collection of a deleted chatbot, and that of a removed user, go by the worker
GRANTS = """
REVOKE ALL ON FUNCTION knowledge.reads_open_v2, knowledge.accessible_v2, knowledge.readable_v2, knowledge.open_collection_v1
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION knowledge.reads_open_v2, knowledge.accessible_v2, knowledge.readable_v2
    TO docuchat_gateway, docuchat_chat;
GRANT EXECUTE ON FUNCTION knowledge.accessible_v2 TO docuchat_ingest;
GRANT EXECUTE ON FUNCTION knowledge.open_collection_v1 TO docuchat_gateway;
GRANT DELETE ON knowledge.collections TO docuchat_ingest;
"""


def upgrade() -> None:
    """Every collection is one of documents, as before; processes of the version before go on."""
    op.execute(COLUMNS)
    for name in ("accessible_v2", "open_collection_v1"):
        op.execute((Path(__file__).parent / "sql" / f"{name}.sql").read_text("utf-8"))
    op.execute(POLICIES)
    op.execute(GRANTS)


downgrade = forward_only
