-- name: record_revisions(tenant_id, kind, subjects, versions, state, moment, expires_at)!
-- How somebody stands now. One row each: an older version never takes the place of a newer one.
INSERT INTO auth.revisions (tenant_id, kind, subject, version, state, recorded_at, expires_at)
SELECT :tenant_id::integer, :kind::text, subject, version, :state::text, :moment::timestamptz,
       :expires_at::timestamptz
FROM unnest(:subjects::text[], :versions::integer[]) AS told (subject, version)
ON CONFLICT ON CONSTRAINT revisions_pkey DO UPDATE
SET version = greatest(revisions.version, excluded.version),
    state = excluded.state,
    recorded_at = excluded.recorded_at,
    expires_at = excluded.expires_at,
    recorded_in = pg_current_xact_id();

-- name: list_revisions(page_tenant, page_kind, page_subject, max_rows)
-- How everybody stands, in an order, and the snapshot of this answer. At least one row, which may have nobody.
SELECT present.snapshot, r.tenant_id, r.kind, r.subject, r.version, r.state
FROM (SELECT pg_current_snapshot()::text AS snapshot) AS present
LEFT JOIN auth.revisions AS r
    ON (r.tenant_id, r.kind, r.subject) > (:page_tenant::integer, :page_kind::text, :page_subject::text)
ORDER BY r.tenant_id, r.kind, r.subject
LIMIT :max_rows;

-- name: list_revisions_after(after, page_tenant, page_kind, page_subject, max_rows)
-- What a reader who saw the snapshot `after` does not know, in whatever order the transactions began and ended, and the
-- snapshot of this answer. At least one row, which may have nobody. A snapshot that is yet to come is of a time before the
-- database was brought back from a back-up.
SELECT present.snapshot, present.is_behind, r.tenant_id, r.kind, r.subject, r.version, r.state
FROM (
    SELECT pg_current_snapshot()::text AS snapshot,
           pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax(:after::text::pg_snapshot) AS is_behind
) AS present
LEFT JOIN auth.revisions AS r
    ON r.recorded_in >= pg_snapshot_xmin(:after::text::pg_snapshot)
    AND NOT pg_visible_in_snapshot(r.recorded_in, :after::text::pg_snapshot)
    AND (r.tenant_id, r.kind, r.subject) > (:page_tenant::integer, :page_kind::text, :page_subject::text)
ORDER BY r.tenant_id, r.kind, r.subject
LIMIT :max_rows;

-- name: delete_expired_revisions(moment)$
-- Forgets what no token that is alive can contradict.
WITH deleted AS (
    DELETE FROM auth.revisions WHERE expires_at < :moment RETURNING 1
)
SELECT count(*) FROM deleted;
