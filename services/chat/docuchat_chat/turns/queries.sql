-- name: begin_turn!
-- The question and its turn, before the provider is called; without a text the question is there.
WITH question AS (
    INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, tokens, tokenizer, status, scope)
    SELECT :user_message_id::uuid, :tenant_id::bigint, :chat_id::uuid, :answer_seq::bigint - 1, 'user', :question::text,
           :question_key::text, :question_tokens::integer, :tokenizer::text, 'complete', :scope::jsonb
    WHERE :question::text IS NOT NULL
)
INSERT INTO chat.turns (id, tenant_id, subject_type, subject_id, chat_id, session_id, user_message_id, message_id, answer_seq,
                        model, provider, hold_id, prompt_tokens, sources, notice, owner, key_owner_id, key_id,
                        chatbot_id, chatbot_version, searched_as, provider_model, fallback, given)
VALUES (:turn_id, :tenant_id, :subject_type, :subject_id, :chat_id, :session_id, :user_message_id, :message_id,
        :answer_seq, :model, :provider, :hold_id, :prompt_tokens, :sources::jsonb, :notice, :owner, :key_owner_id,
        :key_id, :chatbot_id, :chatbot_version, :searched_as, :provider_model, :fallback::jsonb, :given::jsonb);

-- name: find_turn^
-- One turn; with a subject only its own, of a chat that is not deleted.
SELECT t.id, t.tenant_id, t.subject_type, t.subject_id, t.key_owner_id, t.key_id, t.chat_id, t.session_id, t.user_message_id, t.message_id, t.model, t.provider, t.hold_id,
       t.prompt_tokens, t.sources, t.notice, t.owner, t.state, t.input_tokens, t.output_tokens, t.estimated, t.finish_reason,
       t.frame_lengths, t.error_code, t.error_message, t.retry_after_seconds, t.not_cited, t.created_at, t.finished_at,
       t.chatbot_id, t.chatbot_version, t.searched_as, t.provider_model, t.fallback, t.given
FROM chat.turns t
JOIN chat.chats c ON c.tenant_id = t.tenant_id AND c.id = t.chat_id
WHERE t.tenant_id = :tenant_id AND t.id = :turn_id AND (:subject_id::uuid IS NULL OR t.subject_id = :subject_id::uuid)
  AND (c.deleted_at IS NULL OR :subject_id::uuid IS NULL);

-- name: move_on^
-- Let a turn that still runs stand for the call of its second model, once.
UPDATE chat.turns
SET model = :model, provider = :provider, provider_model = :provider_model, hold_id = :hold_id,
    prompt_tokens = :prompt_tokens, fallback = :fallback::jsonb
WHERE tenant_id = :tenant_id AND id = :turn_id AND state = 'running' AND fallback IS NULL
RETURNING id;

-- name: finish_turn^
-- Settle a turn that still runs: state, usage and the stored answer at once. Whether this call settled it, and kept it.
-- From then on its sources are named for each reader anew: the names of documents do not outlive them here.
WITH settled AS (
    UPDATE chat.turns
    SET state = :state, input_tokens = :input_tokens, output_tokens = :output_tokens, estimated = :estimated,
        finish_reason = :finish_reason, frame_lengths = :frame_lengths, error_code = :error_code,
        error_message = :error_message, retry_after_seconds = :retry_after_seconds, not_cited = :not_cited, owner = :owner,
        sources = (SELECT coalesce(jsonb_agg(s || '{"title": "", "filename": ""}' ORDER BY place), '[]')
                   FROM jsonb_array_elements(sources) WITH ORDINALITY AS each (s, place)),
        finished_at = :now
    WHERE tenant_id = :tenant_id AND id = :turn_id AND state = 'running'
      AND (fallback IS NOT NULL) = :is_fallback -- else it has moved on, unheard, and stands for another call
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
SELECT EXISTS (SELECT FROM settled) AS settled, EXISTS (SELECT FROM kept) AS kept;

-- name: delete_turn!
-- Drop a turn whose chat was deleted.
DELETE FROM chat.turns WHERE tenant_id = :tenant_id AND id = :turn_id;

-- name: list_orphans
-- Running turns whose process is not alive, and those of the asking process that it does not know.
SELECT t.id, t.tenant_id, t.owner
FROM chat.turns t
WHERE t.state = 'running'
  AND CASE WHEN t.owner = :owner THEN NOT t.id = ANY(:known::uuid[])
      ELSE NOT t.owner::bigint <@ (SELECT chat.living_v1(:lock_class, :restart_grace::interval)) END
ORDER BY t.created_at
LIMIT :row_limit;

-- name: list_running
-- The turns of a tenant that are not settled.
SELECT id FROM chat.turns WHERE tenant_id = :tenant_id AND state = 'running';

-- name: is_alive$
-- Whether a process holds its sign of life.
SELECT (:owner::text)::bigint <@ chat.living_v1(:lock_class, :restart_grace::interval);

-- name: count_open$
-- Turns of a process that are not settled.
SELECT count(*) FROM chat.turns WHERE state = 'running' AND owner = :owner;

-- name: list_unbooked
-- Settled turns with usage that the ledger was not yet seen to have; who was announced again goes behind the others.
SELECT id, tenant_id
FROM chat.turns
WHERE input_tokens IS NOT NULL AND booked_at IS NULL
  AND coalesce(announced_again_at, finished_at) < now() - :patience::interval
ORDER BY coalesce(announced_again_at, finished_at)
LIMIT :row_limit;

-- name: announce_again^
-- Note that a turn is announced again, unless that was just done.
UPDATE chat.turns SET announced_again_at = now()
WHERE tenant_id = :tenant_id AND id = :turn_id AND input_tokens IS NOT NULL AND booked_at IS NULL
  AND coalesce(announced_again_at, finished_at) < now() - :patience::interval
RETURNING id;

-- name: confirm_booked!
-- The ledger has these turns.
UPDATE chat.turns SET booked_at = now() WHERE id = ANY(:turn_ids::uuid[]);

-- name: purge_turns!
-- Settled turns past their life; running ones are settled first.
DELETE FROM chat.turns
WHERE id IN (SELECT id FROM chat.turns WHERE finished_at < now() - :older_than::interval LIMIT :row_limit);

-- name: purge_not_kept
-- Delete chats that are not kept, once nothing runs in them and all is booked; their messages and turns go with them.
-- Whoever repeats a request meanwhile, for want of an answer, still gets the first one's.
DELETE FROM chat.chats
WHERE id IN (
    SELECT c.id FROM chat.chats c
    WHERE NOT c.is_kept AND c.created_at < now() - :older_than::interval
      AND NOT EXISTS (SELECT FROM chat.turns t
                      WHERE t.tenant_id = c.tenant_id AND t.chat_id = c.id
                        AND (t.state = 'running' OR (t.input_tokens IS NOT NULL AND t.booked_at IS NULL)))
    ORDER BY c.created_at
    LIMIT :row_limit)
-- as they were before this statement
RETURNING tenant_id, ARRAY(SELECT t.id FROM chat.turns t WHERE t.tenant_id = chats.tenant_id AND t.chat_id = chats.id) AS turn_ids;

-- name: purge_chats!
-- Deleted chats in which nothing runs any more and, where chats have an end of life, those unused since; messages go with them.
DELETE FROM chat.chats
WHERE id IN (
    SELECT c.id FROM chat.chats c
    WHERE (c.deleted_at < now() - interval '1 minute' OR c.updated_at < now() - :older_than::interval)
      AND NOT EXISTS (SELECT FROM chat.turns t
                      WHERE t.tenant_id = c.tenant_id AND t.chat_id = c.id AND t.state = 'running')
    LIMIT :row_limit);
