-- What chat keeps of a tenant, or of one person: one JSON object a row.

-- name: providers
-- The tenant's providers of models, without their keys.
SELECT jsonb_build_object('id', p.id, 'name', p.name, 'base_url', p.base_url, 'auth', p.auth, 'query', p.query, 'models', p.models,
    'is_enabled', p.is_enabled, 'revision', p.revision, 'created_at', p.created_at, 'updated_at', p.updated_at)::text AS row
FROM chat.providers p
WHERE p.tenant_id = :tenant_id AND :subject_ids::uuid[] IS NULL
ORDER BY p.id;

-- name: chatbots
-- The tenant's chatbots, which are nobody's own.
SELECT jsonb_build_object('id', b.id, 'name', b.name, 'description', b.description, 'draft', b.draft, 'revision', b.revision,
    'live_version', b.live_version, 'origins', b.origins, 'demo_messages', b.demo_messages, 'tokens_per_month', b.tokens_per_month,
    'tokens_per_visitor', b.tokens_per_visitor, 'created_at', b.created_at, 'updated_at', b.updated_at)::text AS row
FROM chat.chatbots b
WHERE b.tenant_id = :tenant_id AND :subject_ids::uuid[] IS NULL
ORDER BY b.id;

-- name: chatbot_versions
-- All that their published versions say.
SELECT jsonb_build_object('chatbot_id', v.chatbot_id, 'version', v.version, 'config', v.config, 'restored_from', v.restored_from,
    'created_at', v.created_at)::text AS row
FROM chat.chatbot_versions v
WHERE v.tenant_id = :tenant_id AND :subject_ids::uuid[] IS NULL
ORDER BY v.chatbot_id, v.version;

-- name: chats
-- Chats that are not deleted.
SELECT jsonb_build_object('id', c.id, 'subject_type', c.subject_type, 'subject_id', c.subject_id, 'session_id', coalesce(c.chatbot_session_key, c.session_key),
    'chatbot_id', c.chatbot_id, 'title', c.title, 'title_by', c.title_by, 'pinned', c.pinned, 'archived', c.archived,
    'created_at', c.created_at, 'updated_at', c.updated_at, 'messages', c.message_count,
    'branches', c.branches, 'head_seq', c.head_seq)::text AS row
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.deleted_at IS NULL AND c.is_kept
  AND (:subject_ids::uuid[] IS NULL OR c.subject_id = ANY (:subject_ids::uuid[]))
ORDER BY c.id;

-- name: messages
-- Their messages with what they cite; of one person without words of documents, which may not be the person's to read any more.
SELECT jsonb_build_object('id', m.id, 'chat_id', m.chat_id, 'seq', m.seq, 'role', m.role, 'content', m.content,
    'citations', CASE WHEN :subject_ids::uuid[] IS NULL THEN m.citations
                      ELSE (SELECT coalesce(jsonb_agg(c.value - '{quote,title,filename}'::text[] ORDER BY c.ordinality), '[]')
                            FROM jsonb_array_elements(m.citations) WITH ORDINALITY c) END,
    'usage', m.usage, 'model', m.model, 'status', m.status, 'metadata', m.metadata, 'scope', m.scope, 'created_at', m.created_at)::text AS row
FROM chat.chats c
JOIN chat.messages m ON m.tenant_id = c.tenant_id AND m.chat_id = c.id
WHERE c.tenant_id = :tenant_id AND c.deleted_at IS NULL AND c.is_kept
  AND (:subject_ids::uuid[] IS NULL OR c.subject_id = ANY (:subject_ids::uuid[]))
ORDER BY m.chat_id, m.seq;

-- name: feedback
-- What readers think of answers.
SELECT jsonb_build_object('message_id', f.message_id, 'chat_id', m.chat_id, 'subject_type', f.subject_type,
    'subject_id', f.subject_id, 'rating', f.rating, 'reason', f.reason, 'text', f.text,
    'created_at', f.created_at, 'updated_at', f.updated_at)::text AS row
FROM chat.feedback f
JOIN chat.messages m ON m.tenant_id = f.tenant_id AND m.id = f.message_id
WHERE f.tenant_id = :tenant_id AND (:subject_ids::uuid[] IS NULL OR f.subject_id = ANY (:subject_ids::uuid[]))
ORDER BY f.message_id, f.subject_id;

-- name: shares
-- Links to chats, without their tokens.
SELECT jsonb_build_object('id', s.id, 'chat_id', s.chat_id, 'audience', s.audience, 'title', s.title,
    'created_at', s.created_at, 'expires_at', s.expires_at)::text AS row
FROM chat.chats c
JOIN chat.shares s ON s.tenant_id = c.tenant_id AND s.chat_id = c.id
WHERE c.tenant_id = :tenant_id AND c.deleted_at IS NULL
  AND (:subject_ids::uuid[] IS NULL OR c.subject_id = ANY (:subject_ids::uuid[]))
ORDER BY s.id;

-- name: chat_sessions
-- Where chats are open, without tokens.
SELECT jsonb_build_object('id', s.id, 'chat_id', s.chat_id, 'subject_type', s.subject_type, 'subject_id', s.subject_id,
    'last_activity', s.last_activity, 'created_at', s.created_at)::text AS row
FROM chat.chat_sessions s
WHERE s.tenant_id = :tenant_id AND (:subject_ids::uuid[] IS NULL OR s.subject_id = ANY (:subject_ids::uuid[]))
ORDER BY s.id;
