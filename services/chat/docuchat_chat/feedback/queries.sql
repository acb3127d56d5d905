-- name: find_message^
-- One message of a caller's chat; it stays until the transaction ends.
SELECT m.id, m.chat_id, m.role, c.chatbot_id
FROM chat.messages m
JOIN chat.chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id
WHERE m.tenant_id = :tenant_id AND m.id = :message_id AND c.subject_id = :subject_id AND c.deleted_at IS NULL
FOR KEY SHARE OF m;

-- name: put^
-- What a subject thinks of a message, in the place of what it said before; no row when it is what it said before.
INSERT INTO chat.feedback (tenant_id, message_id, subject_type, subject_id, rating, reason, text)
VALUES (:tenant_id, :message_id, :subject_type, :subject_id, :rating, :reason, :text)
ON CONFLICT ON CONSTRAINT feedback_key DO UPDATE
SET rating = excluded.rating, reason = excluded.reason, text = excluded.text, updated_at = now()
WHERE (feedback.rating, feedback.reason, feedback.text)
      IS DISTINCT FROM (excluded.rating, excluded.reason, excluded.text)
RETURNING message_id, rating, reason, text, created_at, updated_at;

-- name: delete!
-- What a subject thinks of a message.
DELETE FROM chat.feedback WHERE tenant_id = :tenant_id AND message_id = :message_id AND subject_id = :subject_id;

-- name: list_own
-- What a subject thinks of some messages.
SELECT message_id, rating, reason, text, created_at, updated_at
FROM chat.feedback
WHERE tenant_id = :tenant_id AND message_id = ANY(:message_ids::uuid[]) AND subject_id = :subject_id;
