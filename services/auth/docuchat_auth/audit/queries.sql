-- name: lock_chain(chain)!
-- Whoever books into a chain takes turns, so that two entries never follow the same one.
SELECT pg_advisory_xact_lock(hashtextextended('auth.audit_entries', :chain));

-- name: list_heads(chains)
-- The last entry of each chain that has one.
SELECT c.chain, last.seq, last.hash
FROM unnest(:chains::integer[]) AS c (chain)
CROSS JOIN LATERAL (
    SELECT e.seq, e.hash FROM auth.audit_entries e WHERE e.chain = c.chain ORDER BY e.seq DESC LIMIT 1
) AS last;

-- name: list_known(event_ids)
-- Those of these events that are booked.
SELECT event_id FROM auth.audit_entries WHERE event_id = ANY (:event_ids::uuid[]);

-- name: add_links(chains, seqs, event_ids, moments, tenant_ids, subject_types, subject_ids, actions, object_types, object_ids, results, addresses, request_ids, details, prev_hashes, hashes, salts, digests)!
-- New entries.
INSERT INTO auth.audit_entries (chain, seq, event_id, at, tenant_id, subject_type, subject_id, action, object_type,
    object_id, result, address, request_id, detail, prev_hash, hash, address_salt, address_digest)
SELECT * FROM unnest(:chains::integer[], :seqs::bigint[], :event_ids::uuid[], :moments::timestamptz[],
    :tenant_ids::integer[], :subject_types::text[], :subject_ids::uuid[], :actions::text[], :object_types::text[],
    :object_ids::text[], :results::text[], :addresses::text[], :request_ids::text[], :details::text[],
    :prev_hashes::bytea[], :hashes::bytea[], :salts::bytea[], :digests::bytea[]);

-- name: list_links_before(chain, before, actor, action, object_type, object_id, since, until, max_rows)
-- The latest entries of a chain before a number, all or those that are wanted.
SELECT chain, seq, event_id, at, tenant_id, subject_type, subject_id, action, object_type, object_id, result, address,
       request_id, detail, prev_hash, hash, address_salt, address_digest
FROM auth.audit_entries
WHERE chain = :chain
  AND (:before::bigint IS NULL OR seq < :before::bigint)
  AND (:actor::uuid IS NULL OR subject_id = :actor::uuid)
  AND (:action::text IS NULL OR action = :action::text)
  AND (:object_type::text IS NULL OR object_type = :object_type::text)
  AND (:object_id::text IS NULL OR object_id = :object_id::text)
  AND (:since::timestamptz IS NULL OR at >= :since::timestamptz)
  AND (:until::timestamptz IS NULL OR at < :until::timestamptz)
ORDER BY seq DESC
LIMIT :max_rows;

-- name: list_links_after(chain, after, max_rows)
-- The next entries of a chain, in its order.
SELECT chain, seq, event_id, at, tenant_id, subject_type, subject_id, action, object_type, object_id, result, address,
       request_id, detail, prev_hash, hash, address_salt, address_digest
FROM auth.audit_entries
WHERE chain = :chain AND seq > :after
ORDER BY seq
LIMIT :max_rows;

-- name: find_hash(chain, seq)$
-- The hash of an entry.
SELECT hash FROM auth.audit_entries WHERE chain = :chain AND seq = :seq;

-- name: list_erased(chains)
-- Those of these tenants that are being erased, or were.
SELECT tenant_id FROM auth.erased_tenants WHERE tenant_id = ANY (:chains::bigint[]);

-- name: find_anchor(chain)^
-- The last entry that was taken from the beginning of a chain.
SELECT seq, hash FROM auth.audit_anchors WHERE chain = :chain;

-- name: find_chain_after(after)$
-- The next chain by number.
SELECT chain FROM auth.audit_entries WHERE chain > :after ORDER BY chain LIMIT 1;

-- name: forget(chain, older_than, max_rows)$
-- Forget the oldest entries of a chain; how many.
SELECT auth.forget_audit_v1(:chain, :older_than, :max_rows);

-- name: strip(chain, max_rows)$
-- Leave the addresses out of the log of a tenant that is being erased; how many entries.
SELECT auth.strip_audit_v1(:chain, :max_rows);

-- name: list_erased_people(chains, subject_ids)
-- Of some people, or keys, in tenants those who were erased.
SELECT DISTINCT c.chain, c.subject_id
FROM unnest(:chains::integer[], :subject_ids::uuid[]) AS c (chain, subject_id)
JOIN auth.user_receipts r ON r.tenant_id = c.chain AND c.subject_id = ANY (r.user_id || r.key_ids);

-- name: strip_person(chain, user_id, max_rows)$
-- Leave the addresses of an erased user, and of the user's keys, out of the log; how many entries.
SELECT auth.strip_person_v1(:chain, :user_id, :max_rows);
