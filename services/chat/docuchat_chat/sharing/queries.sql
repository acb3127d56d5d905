-- name: add^
-- A link, which expires after its life.
INSERT INTO chat.shares (id, tenant_id, chat_id, token_hash, audience, title, last_seq, expires_at)
VALUES (:share_id, :tenant_id, :chat_id, :token_hash, :audience, :title, :last_seq, now() + :life::interval)
RETURNING id, tenant_id, chat_id, audience, title, last_seq, created_at, expires_at;

-- name: count_in_turn$
-- Let those who share one chat come one after the other, so that each counts the links before its own.
SELECT pg_advisory_xact_lock(hashtextextended('chat.shares ' || :chat_id::uuid, :tenant_id));

-- name: count_live$
-- How many links of a chat have not expired.
SELECT count(*) FROM chat.shares WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND expires_at > now();

-- name: list_live
-- A page of a chat's links that have not expired, the newest first: ids grow with time.
SELECT id, tenant_id, chat_id, audience, title, last_seq, created_at, expires_at
FROM chat.shares
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND expires_at > now() AND (:before::uuid IS NULL OR id < :before::uuid)
ORDER BY id DESC
LIMIT :row_limit;

-- name: delete!
-- One link of a chat.
DELETE FROM chat.shares WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND id = :share_id;

-- name: find^
-- The link of a token, and whose chat it leads to.
SELECT s.id, s.tenant_id, s.chat_id, s.audience, s.title, s.last_seq, s.created_at, s.expires_at, c.subject_type, c.subject_id
FROM chat.shares s
JOIN chat.chats c ON c.tenant_id = s.tenant_id AND c.id = s.chat_id
WHERE s.tenant_id = :tenant_id AND s.token_hash = :token_hash AND s.expires_at > now() AND c.deleted_at IS NULL;

-- name: find_tenant$
-- Whose tenant's link a token opens (system role).
SELECT tenant_id FROM chat.shares WHERE token_hash = :token_hash AND expires_at > now();

-- name: delete_expired!
-- Links that open nothing any more (system role).
DELETE FROM chat.shares
WHERE token_hash IN (SELECT token_hash FROM chat.shares WHERE expires_at <= now() LIMIT :row_limit);
