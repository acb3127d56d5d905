"""Collections, documents, chunks with their words and vectors, embedding spaces, outbox and inbox."""

from alembic import op

from docuchat_common.db.ddl import forward_only, inbox_ddl, outbox_ddl, tenant_policy_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GATEWAY, INGEST, CHAT = "docuchat_gateway", "docuchat_ingest", "docuchat_chat"
GATEWAY_SYSTEM, INGEST_SYSTEM = "docuchat_gateway_system", "docuchat_ingest_system"

TABLES = """
CREATE TABLE knowledge.embedding_spaces (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL CONSTRAINT embedding_spaces_dimension CHECK (dimension BETWEEN 1 AND 4000),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT embedding_spaces_identity UNIQUE (provider, model, dimension)
);
COMMENT ON TABLE knowledge.embedding_spaces IS 'Vectors compare only within one space. Holds no tenant''s data.';

CREATE TABLE knowledge.collections (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    name text NOT NULL,
    is_default boolean NOT NULL,
    chunk_count bigint NOT NULL DEFAULT 0,
    term_total bigint NOT NULL DEFAULT 0,
    languages text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX collections_default ON knowledge.collections (tenant_id) WHERE is_default;
CREATE INDEX collections_tenant ON knowledge.collections (tenant_id);
COMMENT ON COLUMN knowledge.collections.term_total IS 'Words of all live chunks: with chunk_count the mean length that BM25 needs.';
COMMENT ON COLUMN knowledge.collections.languages IS 'Every language a live chunk ever had: a query is stemmed for each.';

CREATE TABLE knowledge.documents (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    collection_id uuid NOT NULL REFERENCES knowledge.collections (id),
    title text NOT NULL,
    filename text NOT NULL,
    media_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    blob_key text NOT NULL,
    uploaded_by uuid,
    status text NOT NULL DEFAULT 'queued'
        CONSTRAINT documents_status CHECK (status IN ('queued', 'processing', 'ready', 'failed')),
    pages integer,
    pages_done integer NOT NULL DEFAULT 0,
    chunks integer NOT NULL DEFAULT 0,
    term_total bigint NOT NULL DEFAULT 0,
    generation integer NOT NULL DEFAULT 0,
    draft_recipe text,
    attempts integer NOT NULL DEFAULT 0,
    queued_at timestamptz NOT NULL DEFAULT now(),
    not_before timestamptz NOT NULL DEFAULT now(),
    claim_token uuid,
    worker_id integer,
    claimed_at timestamptz,
    lease_expires_at timestamptz,
    processing_seconds real,
    error_code text,
    error_detail text,
    retryable boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ready_at timestamptz,
    deleted_at timestamptz,
    CONSTRAINT documents_claim CHECK (
        (status = 'processing')
        = (claim_token IS NOT NULL AND worker_id IS NOT NULL AND lease_expires_at IS NOT NULL AND claimed_at IS NOT NULL)
    )
);
CREATE UNIQUE INDEX documents_content ON knowledge.documents (tenant_id, collection_id, sha256) WHERE deleted_at IS NULL;
CREATE INDEX documents_newest ON knowledge.documents (tenant_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX documents_queue ON knowledge.documents (tenant_id, queued_at, id) WHERE status = 'queued' AND deleted_at IS NULL;
CREATE INDEX documents_running ON knowledge.documents (tenant_id, id) WHERE status = 'processing' AND deleted_at IS NULL;
CREATE INDEX documents_recent ON knowledge.documents (tenant_id, ready_at DESC) WHERE status = 'ready' AND deleted_at IS NULL;
CREATE INDEX documents_tombstones ON knowledge.documents (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX documents_collection ON knowledge.documents (collection_id);
COMMENT ON COLUMN knowledge.documents.generation IS 'The live generation of chunks; 0 before the first. A worker writes generation + 1.';
COMMENT ON COLUMN knowledge.documents.draft_recipe IS 'How the unfinished generation was made; another recipe cannot continue it.';
COMMENT ON COLUMN knowledge.documents.claim_token IS 'Fencing: a write under a claim must name it.';

CREATE TABLE knowledge.chunks (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    document_id uuid NOT NULL REFERENCES knowledge.documents (id) ON DELETE CASCADE,
    collection_id uuid NOT NULL,
    generation integer NOT NULL,
    ordinal integer NOT NULL,
    page integer NOT NULL,
    page_to integer NOT NULL,
    char_start integer NOT NULL,
    char_end integer NOT NULL,
    token_count integer NOT NULL,
    term_count integer NOT NULL,
    language text,
    text text NOT NULL,
    search_vector tsvector NOT NULL,
    CONSTRAINT chunks_place UNIQUE (document_id, generation, ordinal)
);
CREATE INDEX chunks_tenant ON knowledge.chunks (tenant_id, id);
-- word lookups read search_vector of hundreds of rows: keep it in the row, and only the text may be compressed or moved
ALTER TABLE knowledge.chunks ALTER COLUMN search_vector SET STORAGE MAIN;
ALTER TABLE knowledge.chunks SET (toast_tuple_target = 4080);
COMMENT ON COLUMN knowledge.chunks.text IS 'As in the document; only search_vector is folded.';

CREATE TABLE knowledge.chunk_vectors (
    chunk_id uuid PRIMARY KEY REFERENCES knowledge.chunks (id) ON DELETE CASCADE,
    tenant_id bigint NOT NULL,
    document_id uuid NOT NULL,
    collection_id uuid NOT NULL,
    generation integer NOT NULL,
    space_id integer NOT NULL REFERENCES knowledge.embedding_spaces (id),
    embedding halfvec NOT NULL
);
CREATE INDEX chunk_vectors_tenant ON knowledge.chunk_vectors (tenant_id, space_id);
CREATE INDEX chunk_vectors_document ON knowledge.chunk_vectors (document_id);
ALTER TABLE knowledge.chunk_vectors ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE knowledge.chunk_vectors SET (toast_tuple_target = 8160);
COMMENT ON TABLE knowledge.chunk_vectors IS 'Apart from chunks, so that an exact scan of a tenant reads vectors and nothing else.';
"""

FUNCTIONS = """
CREATE FUNCTION knowledge.current_tenant() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog
RETURN nullif(current_setting('app.tenant_id', true), '')::bigint;

CREATE FUNCTION knowledge.text_config(language text) RETURNS regconfig
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE language
    WHEN 'ar' THEN 'pg_catalog.arabic' WHEN 'da' THEN 'pg_catalog.danish' WHEN 'de' THEN 'pg_catalog.german'
    WHEN 'en' THEN 'pg_catalog.english' WHEN 'es' THEN 'pg_catalog.spanish' WHEN 'fi' THEN 'pg_catalog.finnish'
    WHEN 'fr' THEN 'pg_catalog.french' WHEN 'hu' THEN 'pg_catalog.hungarian' WHEN 'it' THEN 'pg_catalog.italian'
    WHEN 'nl' THEN 'pg_catalog.dutch' WHEN 'no' THEN 'pg_catalog.norwegian' WHEN 'nb' THEN 'pg_catalog.norwegian'
    WHEN 'pt' THEN 'pg_catalog.portuguese' WHEN 'ro' THEN 'pg_catalog.romanian' WHEN 'ru' THEN 'pg_catalog.russian'
    WHEN 'sv' THEN 'pg_catalog.swedish' WHEN 'tr' THEN 'pg_catalog.turkish'
    ELSE 'pg_catalog.simple'
END::regconfig;

-- a word of one tenant as one index key: a posting list never mixes tenants, whatever the other tenants hold
CREATE FUNCTION knowledge.term_keys(tenant_id bigint, words tsvector) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT array_agg(hashtextextended(lexeme, tenant_id)) FROM unnest(tsvector_to_array(words)) AS lexeme);

CREATE INDEX chunks_terms ON knowledge.chunks USING gin (knowledge.term_keys(tenant_id, search_vector)) WITH (fastupdate = off);

-- Row-level security keeps an index from being used for any operator that is not leakproof, and no full-text or array operator
-- is (https://www.postgresql.org/docs/current/rules-privileges.html). The two functions below look words up as the owner,
-- always for the tenant that is set, by the word index alone (a generic plan would walk another one to the limit), and give ids and numbers; whoever reads a row by such an id is bound by row-level security.
CREATE FUNCTION knowledge.count_terms(lexemes text[], cap integer) RETURNS TABLE (lexeme text, chunk_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog SET enable_seqscan = off SET enable_indexscan = off
AS $$
SELECT l.lexeme,
       (SELECT count(*)
        FROM (SELECT FROM knowledge.chunks c
              WHERE knowledge.term_keys(c.tenant_id, c.search_vector)
                    @> ARRAY[hashtextextended(l.lexeme, knowledge.current_tenant())]
              LIMIT cap) bounded)
FROM unnest(lexemes) AS l (lexeme)
$$;

CREATE FUNCTION knowledge.chunks_with_terms(lexemes text[], all_of_them boolean, row_limit integer) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog SET enable_seqscan = off SET enable_indexscan = off
AS $$
DECLARE
    keys bigint[] := (SELECT array_agg(hashtextextended(l, knowledge.current_tenant())) FROM unnest(lexemes) l);
BEGIN
    IF all_of_them THEN
        RETURN QUERY SELECT c.id FROM knowledge.chunks c
                     WHERE knowledge.term_keys(c.tenant_id, c.search_vector) @> keys LIMIT row_limit;
    ELSE
        RETURN QUERY SELECT c.id FROM knowledge.chunks c
                     WHERE knowledge.term_keys(c.tenant_id, c.search_vector) && keys LIMIT row_limit;
    END IF;
END
$$;

-- the dimension is part of a partial index's expression, so the statement must be made for it; runs with the caller's rights
CREATE FUNCTION knowledge.nearest_chunks(
    of_space integer, dimension integer, query real[], of_collection uuid, row_limit integer
) RETURNS TABLE (chunk_id uuid, similarity float8)
LANGUAGE plpgsql STABLE SECURITY INVOKER SET search_path = pg_catalog, public SET enable_seqscan = off SET enable_sort = off
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT v.chunk_id, 1 - ((v.embedding::halfvec(%1$s)) <=> $1::halfvec(%1$s))
         FROM knowledge.chunk_vectors v
         JOIN knowledge.documents d ON d.id = v.document_id AND d.generation = v.generation AND d.deleted_at IS NULL
         WHERE v.tenant_id = knowledge.current_tenant() AND v.space_id = %2$s
           AND ($2 IS NULL OR v.collection_id = $2)
         ORDER BY (v.embedding::halfvec(%1$s)) <=> $1::halfvec(%1$s)
         LIMIT $3', dimension, of_space)
    USING query, of_collection, row_limit;
END
$$;
"""

GRANTS = """
REVOKE ALL ON FUNCTION knowledge.count_terms, knowledge.chunks_with_terms, knowledge.nearest_chunks FROM PUBLIC;
GRANT USAGE ON SCHEMA knowledge TO docuchat_gateway, docuchat_ingest, docuchat_chat, docuchat_gateway_system, docuchat_ingest_system;

GRANT SELECT, INSERT ON knowledge.collections TO docuchat_gateway;
GRANT UPDATE (chunk_count, term_total) ON knowledge.collections TO docuchat_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON knowledge.documents TO docuchat_gateway;
GRANT SELECT, DELETE ON knowledge.chunks, knowledge.chunk_vectors TO docuchat_gateway;

GRANT SELECT ON knowledge.embedding_spaces TO docuchat_ingest;
GRANT SELECT ON knowledge.collections TO docuchat_ingest;
GRANT UPDATE (chunk_count, term_total, languages) ON knowledge.collections TO docuchat_ingest;
GRANT SELECT, UPDATE ON knowledge.documents TO docuchat_ingest;
GRANT SELECT, INSERT, DELETE ON knowledge.chunks, knowledge.chunk_vectors TO docuchat_ingest;
GRANT SELECT, UPDATE, DELETE ON knowledge.documents TO docuchat_ingest_system;
GRANT SELECT, DELETE ON knowledge.chunks, knowledge.chunk_vectors TO docuchat_ingest_system;

GRANT SELECT ON knowledge.embedding_spaces, knowledge.collections, knowledge.documents, knowledge.chunks, knowledge.chunk_vectors
TO docuchat_chat;
GRANT EXECUTE ON FUNCTION knowledge.count_terms, knowledge.chunks_with_terms, knowledge.nearest_chunks TO docuchat_chat;
"""

# the owner looks words up for the functions above; its policy is what lets it see rows while row-level security is forced
OWNER_POLICY = "CREATE POLICY word_lookup ON knowledge.chunks FOR SELECT TO CURRENT_USER USING (true)"


def upgrade() -> None:
    """Make the schema's tables, functions, policies and grants."""
    op.execute(TABLES)
    op.execute(FUNCTIONS)
    op.execute(
        tenant_policy_ddl(
            "knowledge.collections", app_roles=(GATEWAY, INGEST, CHAT), system_roles=(GATEWAY_SYSTEM, INGEST_SYSTEM)
        )
    )
    op.execute(
        tenant_policy_ddl(
            "knowledge.documents", app_roles=(GATEWAY, INGEST, CHAT), system_roles=(GATEWAY_SYSTEM, INGEST_SYSTEM)
        )
    )
    op.execute(tenant_policy_ddl("knowledge.chunks", app_roles=(GATEWAY, INGEST, CHAT), system_roles=(INGEST_SYSTEM,)))
    op.execute(
        tenant_policy_ddl("knowledge.chunk_vectors", app_roles=(GATEWAY, INGEST, CHAT), system_roles=(INGEST_SYSTEM,))
    )
    op.execute(OWNER_POLICY)
    op.execute(GRANTS)
    op.execute(outbox_ddl("knowledge", app_roles=(GATEWAY, INGEST), system_roles=(GATEWAY_SYSTEM, INGEST_SYSTEM)))
    op.execute(inbox_ddl("knowledge", roles=(GATEWAY, INGEST), system_roles=(GATEWAY_SYSTEM, INGEST_SYSTEM)))


downgrade = forward_only
