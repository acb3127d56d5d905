"""Collections have members, and row-level security shows the gateway and chat what the caller may read."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

GATEWAY = "docuchat_gateway"

TABLES = """
ALTER TABLE knowledge.collections
    ADD COLUMN visibility text NOT NULL DEFAULT 'tenant'
        CONSTRAINT collections_visibility CHECK (visibility IN ('tenant', 'restricted')),
    ADD COLUMN created_by uuid,
    ADD CONSTRAINT collections_default_is_open CHECK (NOT is_default OR visibility = 'tenant');
COMMENT ON COLUMN knowledge.collections.visibility IS 'tenant: read by all of the tenant; restricted: by its members and admins.';

CREATE TABLE knowledge.collection_members (
    collection_id uuid NOT NULL REFERENCES knowledge.collections (id) ON DELETE CASCADE,
    member_id uuid NOT NULL,
    tenant_id bigint NOT NULL,
    access text NOT NULL CONSTRAINT collection_members_access CHECK (access IN ('read', 'write', 'manage')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT collection_members_key PRIMARY KEY (collection_id, member_id)
);
CREATE INDEX collection_members_member ON knowledge.collection_members (tenant_id, member_id);
COMMENT ON COLUMN knowledge.collection_members.member_id IS 'Of a user, a group or a key in auth; ids are never used again.';

-- a tombstone may outlive its collection
ALTER TABLE knowledge.documents
    ALTER COLUMN collection_id DROP NOT NULL,
    ADD CONSTRAINT documents_stand_in_a_collection CHECK (collection_id IS NOT NULL OR deleted_at IS NOT NULL),
    DROP CONSTRAINT documents_collection_id_fkey,
    ADD CONSTRAINT documents_collection_id_fkey FOREIGN KEY (collection_id) REFERENCES knowledge.collections (id)
        ON DELETE SET NULL;

CREATE INDEX chunks_collection ON knowledge.chunks (tenant_id, collection_id, id);
DROP INDEX knowledge.chunks_tenant;
CREATE INDEX chunk_vectors_collection ON knowledge.chunk_vectors (tenant_id, space_id, collection_id);
DROP INDEX knowledge.chunk_vectors_tenant;
CREATE INDEX documents_in_collection ON knowledge.documents (tenant_id, collection_id, id DESC) WHERE deleted_at IS NULL;
DROP INDEX knowledge.documents_newest;
"""

# accessible_v1 and deleted_documents_v1 look up as the owner, whom forced row-level security binds, too
OWNER_POLICIES = """
CREATE POLICY access_lookup ON knowledge.collections FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY access_lookup ON knowledge.collection_members FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY access_lookup ON knowledge.documents FOR SELECT TO CURRENT_USER USING (true);
"""

# restrictive: on top of the tenant's policies; the ingest worker's roles see all of the tenant. The sub-selects hang on no
# row, so each is run once in a statement, and a row costs a look into a hash.
POLICIES = """
CREATE POLICY readers ON knowledge.documents AS RESTRICTIVE TO docuchat_gateway, docuchat_chat
    USING (collection_id IN (SELECT unnest(knowledge.readable_v1())));
CREATE POLICY readers ON knowledge.chunks AS RESTRICTIVE TO docuchat_gateway, docuchat_chat
    USING (collection_id IN (SELECT unnest(knowledge.readable_v1())));
CREATE POLICY readers ON knowledge.chunk_vectors AS RESTRICTIVE TO docuchat_gateway, docuchat_chat
    USING (collection_id IN (SELECT unnest(knowledge.readable_v1())));
CREATE POLICY writers ON knowledge.documents AS RESTRICTIVE FOR INSERT TO docuchat_gateway
    WITH CHECK (collection_id IN (SELECT unnest(knowledge.accessible_v1('write'))));

-- by the row itself, too: one that is made in this transaction was not there when the caller's were looked up
CREATE POLICY readers ON knowledge.collections AS RESTRICTIVE FOR SELECT TO docuchat_gateway, docuchat_chat
    USING (id IN (SELECT unnest(knowledge.readable_v1()))
           OR (visibility = 'tenant' AND (SELECT knowledge.reads_open_v1())));
CREATE POLICY managers ON knowledge.collection_members AS RESTRICTIVE TO docuchat_gateway
    USING (collection_id IN (SELECT unnest(knowledge.accessible_v1('manage'))));
"""

GRANTS = """
REVOKE ALL ON FUNCTION knowledge.reads_open_v1, knowledge.accessible_v1, knowledge.readable_v1,
    knowledge.deleted_documents_v1, knowledge.readable_term_keys_v1, knowledge.count_terms_v2,
    knowledge.chunks_with_terms_v2 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION knowledge.reads_open_v1, knowledge.accessible_v1, knowledge.readable_v1
    TO docuchat_gateway, docuchat_chat;
GRANT EXECUTE ON FUNCTION knowledge.deleted_documents_v1, knowledge.count_terms_v2, knowledge.chunks_with_terms_v2
    TO docuchat_chat;
GRANT UPDATE (name, visibility), DELETE ON knowledge.collections TO docuchat_gateway;
GRANT SELECT, INSERT, DELETE, UPDATE (access) ON knowledge.collection_members TO docuchat_gateway;
"""


def upgrade() -> None:
    """Whatever a tenant has is read by all of it, as before; processes of the version before go on."""
    op.execute(TABLES)
    for name in ("accessible_v1", "words_v2"):
        op.execute((Path(__file__).parent / "sql" / f"{name}.sql").read_text("utf-8"))
    op.execute(tenant_policy_ddl("knowledge.collection_members", app_roles=(GATEWAY,)))
    op.execute(OWNER_POLICIES)
    op.execute(POLICIES)
    op.execute(GRANTS)


downgrade = forward_only
