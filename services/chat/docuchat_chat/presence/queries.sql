-- name: has_chat$
-- Whether a caller has this chat.
SELECT EXISTS (SELECT FROM chat.chats
               WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL);

-- name: open^
-- A session.
INSERT INTO chat.chat_sessions (id, tenant_id, chat_id, subject_type, subject_id, token_hash)
VALUES (:session_id, :tenant_id, :chat_id, :subject_type, :subject_id, :token_hash)
RETURNING id, chat_id, subject_id, last_activity, created_at;

-- name: count_in_turn$
-- Let those who open one chat come one after the other, so that each counts the sessions before its own.
SELECT pg_advisory_xact_lock(hashtextextended('chat.chat_sessions ' || :chat_id::uuid, :tenant_id));

-- name: count_active$
-- How many sessions of a chat showed a sign of life lately.
SELECT count(*) FROM chat.chat_sessions
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND last_activity > now() - :silence::interval;

-- name: list_active
-- A chat's sessions that showed a sign of life lately, the newest first.
SELECT id, chat_id, subject_id, last_activity, created_at
FROM chat.chat_sessions
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND last_activity > now() - :silence::interval
ORDER BY id DESC;

-- name: touch^
-- A sign of life of a session that has not ended.
UPDATE chat.chat_sessions SET last_activity = now()
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND id = :session_id AND subject_id = :subject_id
  AND token_hash = :token_hash AND last_activity > now() - :silence::interval
RETURNING id, chat_id, subject_id, last_activity, created_at;

-- name: close$
-- The end of a session; nothing when it had ended.
DELETE FROM chat.chat_sessions
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND id = :session_id AND subject_id = :subject_id
  AND last_activity > now() - :silence::interval
RETURNING true;

-- name: delete_ended!
-- Sessions that have ended (system role).
DELETE FROM chat.chat_sessions WHERE last_activity <= now() - :silence::interval;
