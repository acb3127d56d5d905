-- What was asked of one chatbot, whoever asked: read only, in steps along the chats that were used since a moment.

-- name: list_chats
-- A page of a chatbot's chats, the last used first.
SELECT c.id, c.tenant_id, c.subject_type, c.subject_id, coalesce(c.chatbot_session_key, c.session_key) AS session_key,
       c.title, c.message_count, c.created_at, c.updated_at
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept
  AND (:before_time::timestamptz IS NULL OR (c.updated_at, c.id) < (:before_time::timestamptz, :before_id::uuid))
ORDER BY c.updated_at DESC, c.id DESC
LIMIT :row_limit;

-- name: find_chat^
-- One of a chatbot's chats.
SELECT c.id, c.tenant_id, c.subject_type, c.subject_id, coalesce(c.chatbot_session_key, c.session_key) AS session_key,
       c.title, c.message_count, c.created_at, c.updated_at
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.id = :chat_id AND c.deleted_at IS NULL AND c.is_kept;

-- name: count_askers^
-- How many chats were used since a moment, and by how many.
SELECT count(*) AS chats, count(DISTINCT c.subject_id) AS askers
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept AND c.updated_at >= :since;

-- name: use_by_day
-- Answers since a moment by day (UTC) and version. A chat is changed with each of its messages: older ones are not looked into.
SELECT (m.created_at AT TIME ZONE 'UTC')::date AS day, (m.metadata ->> 'chatbot_version')::integer AS version,
       count(*) AS answers,
       -- as in `unanswered`
       count(*) FILTER (WHERE m.status = 'complete' AND m.citations = '[]' AND m.metadata -> 'own_knowledge' IS NULL
                          AND m.metadata ->> 'finish_reason' IN ('stop', 'length', 'no_sources', 'no_citations')) AS unanswered,
       coalesce(sum((m.usage ->> 'input_tokens')::bigint), 0)::bigint AS input_tokens,
       coalesce(sum((m.usage ->> 'output_tokens')::bigint), 0)::bigint AS output_tokens
FROM chat.chats c
JOIN chat.messages m ON m.tenant_id = c.tenant_id AND m.chat_id = c.id
WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept AND c.updated_at >= :since
  AND m.role = 'assistant' AND m.created_at >= :since
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: unanswered
-- Questions that found nothing, those that are spelled alike together, the most asked first. Whatever words say so, a
-- whole answer that cites nothing, and says nothing of the model's own, found nothing; small talk ends for another reason.
WITH asked AS (
    SELECT q.content, q.content_key, q.created_at, c.id AS chat_id
    FROM chat.chats c
    JOIN chat.messages m ON m.tenant_id = c.tenant_id AND m.chat_id = c.id
    -- an answer follows the message numbered before it, unless it begins a branch
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT c.branches[i][2] FROM generate_subscripts(c.branches, 1) i WHERE c.branches[i][1] = m.seq),
                        m.seq - 1) AS seq
    ) followed
    JOIN chat.messages q ON q.tenant_id = c.tenant_id AND q.chat_id = c.id AND q.seq = followed.seq
    WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept AND c.updated_at >= :since
      AND m.role = 'assistant' AND m.created_at >= :since
      AND m.status = 'complete' AND m.citations = '[]' AND m.metadata -> 'own_knowledge' IS NULL
      AND m.metadata ->> 'finish_reason' IN ('stop', 'length', 'no_sources', 'no_citations')
)
SELECT (array_agg(a.content ORDER BY a.created_at DESC))[1] AS question, count(*) AS times, max(a.created_at) AS last_asked_at,
       (array_agg(a.chat_id ORDER BY a.created_at DESC))[1] AS chat_id
FROM asked a
GROUP BY a.content_key
ORDER BY count(*) DESC, max(a.created_at) DESC
LIMIT :row_limit;

-- name: opinions
-- How often answers were rated which way, and why.
SELECT f.rating, f.reason, count(*) AS count
FROM chat.feedback f
JOIN chat.messages m ON m.tenant_id = f.tenant_id AND m.id = f.message_id
JOIN chat.chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id
WHERE f.tenant_id = :tenant_id AND f.created_at >= :since AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept
GROUP BY f.rating, f.reason
ORDER BY f.rating, count(*) DESC, f.reason;

-- name: comments
-- What was said of answers in words, the last first.
SELECT c.id AS chat_id, f.message_id, f.rating, f.reason, f.text, f.created_at
FROM chat.feedback f
JOIN chat.messages m ON m.tenant_id = f.tenant_id AND m.id = f.message_id
JOIN chat.chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id
WHERE f.tenant_id = :tenant_id AND f.created_at >= :since AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL AND c.is_kept
  AND f.text IS NOT NULL
ORDER BY f.created_at DESC, f.message_id
LIMIT :row_limit;
