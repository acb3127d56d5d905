-- name: claim_idempotency_key^
-- Claim a key for a turn; nothing is returned when it is taken.
INSERT INTO chat.idempotency_keys (tenant_id, user_id, key, request_hash, turn_id)
VALUES (:tenant_id, :user_id, :key, :request_hash, :turn_id)
ON CONFLICT ON CONSTRAINT idempotency_keys_key DO NOTHING
RETURNING turn_id;

-- name: find_idempotency_key^
-- Who holds a key, and since how many seconds.
SELECT request_hash, turn_id, extract(epoch FROM now() - created_at)::float8 AS age_seconds
FROM chat.idempotency_keys
WHERE tenant_id = :tenant_id AND user_id = :user_id AND key = :key;

-- name: release_idempotency_key!
-- Give a key back: its turn had no effect.
DELETE FROM chat.idempotency_keys WHERE tenant_id = :tenant_id AND turn_id = :turn_id AND user_id = :user_id;

-- name: forget_idempotency_keys!
-- Drop keys that are older than their life.
DELETE FROM chat.idempotency_keys WHERE created_at < now() - :older_than::interval;

-- name: begin_turn!
-- The question and its turn, before the provider is called.
WITH question AS (
    INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, tokens, tokenizer, status)
    VALUES (:user_message_id, :tenant_id, :chat_id, :question_seq, 'user', :question, :question_key, :question_tokens,
            :tokenizer, 'complete')
)
INSERT INTO chat.turns (id, tenant_id, user_id, chat_id, session_id, user_message_id, message_id, answer_seq, model, provider,
                        hold_id, prompt_tokens, sources, owner)
VALUES (:turn_id, :tenant_id, :user_id, :chat_id, :session_id, :user_message_id, :message_id, :question_seq + 1, :model,
        :provider, :hold_id, :prompt_tokens, :sources::jsonb, :owner);

-- name: find_turn^
-- One turn of a user.
SELECT t.id, t.tenant_id, t.user_id, t.chat_id, t.session_id, t.user_message_id, t.message_id, t.model, t.provider, t.hold_id,
       t.prompt_tokens, t.sources, t.owner, t.state, t.input_tokens, t.output_tokens, t.estimated, t.finish_reason,
       t.frame_lengths, t.error_code, t.error_message, t.retry_after_seconds, t.not_cited, t.created_at, t.finished_at
FROM chat.turns t
JOIN chat.chats c ON c.tenant_id = t.tenant_id AND c.id = t.chat_id
WHERE t.tenant_id = :tenant_id AND t.id = :turn_id AND (:user_id::uuid IS NULL OR t.user_id = :user_id::uuid)
  AND (c.deleted_at IS NULL OR :user_id::uuid IS NULL);

-- name: finish_turn$
-- Settle a turn that still runs: state, usage and the stored answer at once. Returns whether this call settled it.
WITH settled AS (
    UPDATE chat.turns
    SET state = :state, input_tokens = :input_tokens, output_tokens = :output_tokens, estimated = :estimated,
        finish_reason = :finish_reason, frame_lengths = :frame_lengths, error_code = :error_code,
        error_message = :error_message, retry_after_seconds = :retry_after_seconds, not_cited = :not_cited, owner = :owner,
        finished_at = :now
    WHERE tenant_id = :tenant_id AND id = :turn_id AND state = 'running'
    RETURNING id, chat_id, message_id, answer_seq, model
), kept AS (
    -- a chat that was deleted meanwhile keeps no answer; the tokens are booked all the same
    UPDATE chat.chats c SET message_count = c.message_count + 1, updated_at = now()
    FROM settled s
    WHERE c.tenant_id = :tenant_id AND c.id = s.chat_id AND c.deleted_at IS NULL
    RETURNING c.id
), answer AS (
    INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, tokens, tokenizer, citations, usage, model,
                               status, metadata, created_at)
    SELECT s.message_id, :tenant_id, s.chat_id, s.answer_seq, 'assistant', :content, :content_key, :tokens, :tokenizer,
           :citations::jsonb, :usage::jsonb, s.model, :status, :metadata::jsonb, :now
    FROM settled s JOIN kept ON kept.id = s.chat_id
)
SELECT EXISTS (SELECT FROM settled);

-- name: heartbeat!
-- The sign of life of a process, for all the turns that it runs.
UPDATE chat.turns SET heartbeat_at = now() WHERE state = 'running' AND id = ANY(:turn_ids::uuid[]);

-- name: list_stale_turns
-- Running turns without a sign of life.
SELECT id, tenant_id, owner
FROM chat.turns
WHERE state = 'running' AND heartbeat_at < now() - :older_than::interval
ORDER BY heartbeat_at
LIMIT :row_limit;
