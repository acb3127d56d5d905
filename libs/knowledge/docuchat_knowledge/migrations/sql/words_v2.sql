-- A word of one collection as one index key: a posting list never mixes collections, so what a reader may not see is neither
-- counted nor walked over for him, whatever it holds.
CREATE FUNCTION knowledge.collection_term_keys(collection_id uuid, words tsvector) RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT array_agg(hashtextextended(lexeme, uuid_hash_extended(collection_id, 0)))
        FROM unnest(tsvector_to_array(words)) AS lexeme);

CREATE INDEX chunks_collection_terms ON knowledge.chunks
    USING gin (knowledge.collection_term_keys(collection_id, search_vector)) WITH (fastupdate = off);
DROP INDEX knowledge.chunks_terms;

-- The keys of a word in the collections that the caller may read, or in one of them.
CREATE FUNCTION knowledge.readable_term_keys_v1(lexemes text[], of_collection uuid) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN (SELECT coalesce(array_agg(hashtextextended(l.lexeme, uuid_hash_extended(c.id, 0))), '{}')
        FROM unnest(knowledge.readable_v1()) AS c (id) CROSS JOIN unnest(lexemes) AS l (lexeme)
        WHERE of_collection IS NULL OR c.id = of_collection);

-- As the functions without a number, which are of the version before: words are looked up as the owner, since row-level
-- security keeps an index from being used for an operator that is not leakproof, and ids and numbers are given.
CREATE FUNCTION knowledge.count_terms_v2(lexemes text[], cap integer, of_collection uuid)
RETURNS TABLE (lexeme text, chunk_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog SET enable_seqscan = off SET enable_indexscan = off
AS $$
SELECT l.lexeme,
       (SELECT count(*)
        FROM (SELECT FROM knowledge.chunks c
              WHERE knowledge.collection_term_keys(c.collection_id, c.search_vector)
                    && knowledge.readable_term_keys_v1(ARRAY[l.lexeme], of_collection)
              LIMIT cap) bounded)
FROM unnest(lexemes) AS l (lexeme)
$$;

-- Chunks with any of the words, or with all of up to three.
CREATE FUNCTION knowledge.chunks_with_terms_v2(lexemes text[], all_of_them boolean, row_limit integer, of_collection uuid)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog SET enable_seqscan = off SET enable_indexscan = off
AS $$
DECLARE
    first bigint[]; second bigint[]; third bigint[];
BEGIN
    IF NOT all_of_them THEN
        first := knowledge.readable_term_keys_v1(lexemes, of_collection);
        RETURN QUERY SELECT c.id FROM knowledge.chunks c
                     WHERE knowledge.collection_term_keys(c.collection_id, c.search_vector) && first LIMIT row_limit;
        RETURN;
    END IF;
    IF cardinality(lexemes) > 3 THEN
        RAISE 'no more than three words are looked up together';
    END IF;
    first := knowledge.readable_term_keys_v1(lexemes[1:1], of_collection);
    second := CASE WHEN cardinality(lexemes) < 2 THEN first ELSE knowledge.readable_term_keys_v1(lexemes[2:2], of_collection) END;
    third := CASE WHEN cardinality(lexemes) < 3 THEN first ELSE knowledge.readable_term_keys_v1(lexemes[3:3], of_collection) END;
    RETURN QUERY SELECT c.id FROM knowledge.chunks c
                 WHERE knowledge.collection_term_keys(c.collection_id, c.search_vector) && first
                   AND knowledge.collection_term_keys(c.collection_id, c.search_vector) && second
                   AND knowledge.collection_term_keys(c.collection_id, c.search_vector) && third LIMIT row_limit;
END
$$;

-- for processes of the version before
CREATE OR REPLACE FUNCTION knowledge.count_terms(lexemes text[], cap integer)
RETURNS TABLE (lexeme text, chunk_count bigint)
LANGUAGE sql STABLE SECURITY INVOKER
AS $$ SELECT * FROM knowledge.count_terms_v2(lexemes, cap, NULL) $$;
CREATE OR REPLACE FUNCTION knowledge.chunks_with_terms(lexemes text[], all_of_them boolean, row_limit integer)
RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY INVOKER
AS $$ SELECT * FROM knowledge.chunks_with_terms_v2(lexemes, all_of_them, row_limit, NULL) $$;
