-- name: claim$
-- Note that a model is about to be asked for a chat's title: once, and not for one that its user has named.
UPDATE chat.chats SET title_asked_at = now()
WHERE tenant_id = :tenant_id AND id = :chat_id AND subject_id = :subject_id AND deleted_at IS NULL
  AND title_by = 'question' AND title_asked_at IS NULL
RETURNING coalesce(title, '');

-- name: put$
-- The model's title, in the place of the beginning of the question.
UPDATE chat.chats SET title = :title, title_key = :title_key, title_by = 'model'
WHERE tenant_id = :tenant_id AND id = :chat_id AND subject_id = :subject_id AND deleted_at IS NULL
  AND title_by = 'question' AND coalesce(title, '') = :before
RETURNING true;
