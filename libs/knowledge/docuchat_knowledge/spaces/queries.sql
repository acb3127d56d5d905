-- name: set_space!
-- Make a space unless it is there; it is the present one from here on, with this weight.
WITH others AS (
    UPDATE knowledge.embedding_spaces SET is_current = false
    WHERE is_current AND (provider, model, dimension, query_prefix, passage_prefix)
        <> (:provider, :model, :dimension::integer, :query_prefix, :passage_prefix)
)
INSERT INTO knowledge.embedding_spaces (provider, model, dimension, query_prefix, passage_prefix, vector_weight)
VALUES (:provider, :model, :dimension::integer, :query_prefix, :passage_prefix, :vector_weight::real)
ON CONFLICT ON CONSTRAINT embedding_spaces_identity DO UPDATE SET vector_weight = excluded.vector_weight;

-- name: set_current!
-- After the others have lost the mark: the unique index sees each statement by itself.
UPDATE knowledge.embedding_spaces SET is_current = true WHERE id = :space_id AND NOT is_current;

-- name: find_space^
-- The id of an embedding space, and what its cosines weigh.
SELECT id, vector_weight FROM knowledge.embedding_spaces
WHERE provider = :provider AND model = :model AND dimension = :dimension
  AND query_prefix = :query_prefix AND passage_prefix = :passage_prefix;

-- name: write_drop_of_broken_index$
-- The statement that removes what an interrupted concurrent build left; null when there is nothing.
SELECT format('DROP INDEX CONCURRENTLY knowledge.%I', c.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relname = format('chunk_vectors_space_%s', :space_id::integer) AND c.relnamespace = 'knowledge'::regnamespace
  AND NOT i.indisvalid;

-- name: write_index$
-- The statement that builds a space's index: half precision, cosine, only the space's rows.
SELECT format(
    'CREATE INDEX CONCURRENTLY IF NOT EXISTS %I ON knowledge.chunk_vectors
     USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops) WITH (m = 16, ef_construction = 64) WHERE space_id = %s',
    format('chunk_vectors_space_%s', :space_id::integer), :dimension::integer, :space_id::integer);
