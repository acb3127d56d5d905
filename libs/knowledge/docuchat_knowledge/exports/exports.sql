-- What the knowledge base keeps of a tenant, or of one person: one JSON object a row, no secrets (role: ingest).

-- name: collections
-- With their members; of one person those that the person made or is a member of by name, and only that membership.
SELECT jsonb_build_object(
    'id', c.id, 'name', c.name, 'is_default', c.is_default, 'visibility', c.visibility, 'created_by', c.created_by,
    'created_at', c.created_at,
    'members', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', m.member_id, 'access', m.access, 'created_at', m.created_at)
                                          ORDER BY m.member_id), '[]')
                FROM knowledge.collection_members m
                WHERE m.tenant_id = c.tenant_id AND m.collection_id = c.id
                  AND (:subject_ids::uuid[] IS NULL OR m.member_id = ANY (:subject_ids::uuid[]))))::text AS row
FROM knowledge.collections c
WHERE c.tenant_id = :tenant_id
  AND (:user_id::uuid IS NULL OR c.created_by = :user_id::uuid
       OR c.id IN (SELECT m.collection_id FROM knowledge.collection_members m
                   WHERE m.tenant_id = :tenant_id AND m.member_id = ANY (:subject_ids::uuid[])))
ORDER BY c.id;

-- name: documents
-- All but their text, which is in the originals; where the person may not read it any more, or as an heir not yet, only that it
-- is there.
SELECT (jsonb_build_object(
    'id', d.id, 'collection_id', d.collection_id, 'title', d.title, 'filename', d.filename, 'media_type', d.media_type,
    'size_bytes', d.size_bytes, 'sha256', d.sha256, 'status', d.status, 'pages', d.pages, 'chunks', d.chunks, 'info', d.info,
    'warnings', d.warnings, 'error_code', d.error_code, 'uploaded_by', d.uploaded_by, 'uploaded_with', d.uploaded_with, 'purpose', d.purpose,
    'created_at', d.created_at, 'ready_at', d.ready_at)
    - CASE WHEN :user_id::uuid IS NULL OR d.collection_id = ANY (:collection_ids::uuid[]) THEN '{}'::text[]
           ELSE '{title,filename,media_type,sha256,pages,chunks,info,warnings}' END)::text AS row
FROM knowledge.documents d
WHERE d.tenant_id = :tenant_id AND d.deleted_at IS NULL AND d.status <> 'receiving'
  AND (:user_id::uuid IS NULL OR d.uploaded_by = :user_id::uuid)
ORDER BY d.id;
