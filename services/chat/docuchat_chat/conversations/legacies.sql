-- name: list_left
-- Removed users of all tenants under whose ids a chat is found, and those of whom it is not told what went: for so long
-- their event may be at work (system role).
SELECT r.tenant_id, r.user_id, r.key_ids, r.hand_over_to, r.is_erasure
FROM chat.removed_users r
WHERE EXISTS (SELECT FROM chat.chats c
              WHERE c.tenant_id = r.tenant_id AND c.subject_id = ANY (r.user_id || r.key_ids) AND c.deleted_at IS NULL)
   OR (r.is_erasure AND r.told_at IS NULL AND r.removed_at < now() - interval '15 minutes')
ORDER BY r.removed_at
LIMIT :row_limit;

-- name: list_running
-- Turns of some subjects that are being answered.
SELECT t.id FROM chat.turns t
WHERE t.tenant_id = :tenant_id AND t.subject_id = ANY (:subject_ids::uuid[]) AND t.state = 'running';

-- name: lock_chats
-- Some chats of some subjects, kept from being written to: the next statement sees what a quicker question has stored.
SELECT c.id FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.subject_id = ANY (:subject_ids::uuid[]) AND c.deleted_at IS NULL
ORDER BY c.id
LIMIT :row_limit
FOR UPDATE;

-- name: delete_chats$
-- Turn chats into tombstones as a deletion of each would; running turns settle, and find that they are not kept. How many
-- messages went.
WITH gone AS (
    UPDATE chat.chats SET deleted_at = now(), title = NULL, title_key = '', session_key = NULL, chatbot_session_key = NULL,
        message_count = 0
    WHERE tenant_id = :tenant_id AND id = ANY (:chat_ids::uuid[]) AND deleted_at IS NULL
    RETURNING id
), emptied AS (
    DELETE FROM chat.messages m USING gone WHERE m.tenant_id = :tenant_id AND m.chat_id = gone.id
    RETURNING m.id
), unshared AS (
    DELETE FROM chat.shares s USING gone WHERE s.tenant_id = :tenant_id AND s.chat_id = gone.id
), closed AS (
    DELETE FROM chat.chat_sessions s USING gone WHERE s.tenant_id = :tenant_id AND s.chat_id = gone.id
), finished AS (
    DELETE FROM chat.turns t USING gone WHERE t.tenant_id = :tenant_id AND t.chat_id = gone.id AND t.state <> 'running'
    RETURNING t.*
), owed AS (
    -- as where a chat is deleted by its asker
    INSERT INTO chat.provider_calls (id, tenant_id, owner, state, kind, provider, model, subjects, expected_input_tokens,
                                     expected_output_tokens, hold_id, chat_id, turn_id, input_tokens, output_tokens, estimated, closed_at)
    SELECT t.id, t.tenant_id, t.owner, 'settled', 'chat', t.provider, coalesce(t.provider_model, t.model),
           (SELECT jsonb_agg(jsonb_build_array(payer.key, payer.value))
            FROM jsonb_each(jsonb_build_object(t.subject_type, t.subject_id) || jsonb_strip_nulls(
                jsonb_build_object('user', t.key_owner_id, 'key', t.key_id, 'chatbot', t.chatbot_id))) AS payer),
           t.prompt_tokens, 0, t.hold_id, t.chat_id, t.id, t.input_tokens, t.output_tokens, t.estimated, t.finished_at
    FROM finished t
    WHERE t.input_tokens IS NOT NULL AND t.booked_at IS NULL
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM emptied;

-- name: list_orphaning
-- Chatbots of all tenants that are gone and have chats (system role).
SELECT r.tenant_id, r.chatbot_id
FROM chat.removed_chatbots r
WHERE EXISTS (SELECT FROM chat.chats c
              WHERE c.tenant_id = r.tenant_id AND c.chatbot_id = r.chatbot_id AND c.deleted_at IS NULL)
ORDER BY r.removed_at
LIMIT :row_limit;

-- name: list_orphans
-- Some chats of one of them, each with whose it is.
SELECT c.id, c.subject_type, c.subject_id
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.chatbot_id = :chatbot_id AND c.deleted_at IS NULL
LIMIT :row_limit;
