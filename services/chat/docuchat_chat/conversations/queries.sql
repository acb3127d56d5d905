-- name: find_chat^
-- One chat of a caller by its id, or by the name that the client chose for it with this chatbot or without any; with its tree.
SELECT id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived, last_seq, branches, head_seq,
       chatbot_id,
       -- of files that were attached to many questions the newest
       ARRAY(SELECT a.document_id FROM chat.chat_attachments a
             WHERE a.tenant_id = :tenant_id AND a.chat_id = c.id ORDER BY a.added_at DESC LIMIT 50) AS attachments
FROM chat.chats c
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND deleted_at IS NULL AND is_kept
  AND (id = :chat_id::uuid
       OR chatbot_session_key = :session_key::text AND chatbot_id = :chatbot_id::uuid
       OR session_key = :session_key::text AND chatbot_id IS NOT DISTINCT FROM :chatbot_id::uuid)
-- A session_id that is the id of an own chat means that chat.
ORDER BY (id = :chat_id::uuid) DESC NULLS LAST
LIMIT 1;

-- name: create_chat^
-- A new chat; nothing is returned when the session key is taken, of a chat with a chatbot at this chatbot.
INSERT INTO chat.chats (id, tenant_id, subject_type, subject_id, session_key, chatbot_session_key, title, title_key, title_by,
                        chatbot_id)
VALUES (:chat_id, :tenant_id, :subject_type, :subject_id,
        CASE WHEN :chatbot_id::uuid IS NULL THEN :session_key::text END,
        CASE WHEN :chatbot_id::uuid IS NOT NULL THEN :session_key::text END, :title, :title_key, :title_by, :chatbot_id)
ON CONFLICT DO NOTHING
RETURNING id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived;

-- name: open_chat^
-- Two consecutive message numbers in the chat of this id, made if it is not there; nothing when it is deleted, or another's.
-- They follow the end of what is shown, which is a branch where that is not the newest message.
INSERT INTO chat.chats AS c (id, tenant_id, subject_type, subject_id, title, title_key, last_seq, message_count, chatbot_id, is_kept)
VALUES (:chat_id, :tenant_id, :subject_type, :subject_id, :title, :title_key, 2, 1, :chatbot_id, :is_kept)
ON CONFLICT (id) DO UPDATE
SET last_seq = c.last_seq + 2, message_count = c.message_count + 1, updated_at = now(), head_seq = NULL,
    branches = CASE WHEN c.head_seq IS NULL THEN c.branches ELSE c.branches || ARRAY[[c.last_seq + 1, c.head_seq]] END,
    title = coalesce(c.title, excluded.title),
    title_key = CASE WHEN c.title IS NULL THEN excluded.title_key ELSE c.title_key END
WHERE c.tenant_id = excluded.tenant_id AND c.subject_id = excluded.subject_id AND c.deleted_at IS NULL AND c.is_kept
  AND c.chatbot_id IS NOT DISTINCT FROM excluded.chatbot_id
RETURNING id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived, last_seq,
    title_by = 'question' AND title_asked_at IS NULL AS wants_title;

-- name: continue_chat^
-- Reserve `places` consecutive message numbers, count those stored now, and give an untitled chat its title. They follow the
-- message `after`, or the end of what is shown; where that is not the newest message, they are a branch.
UPDATE chat.chats
SET last_seq = last_seq + :places, message_count = message_count + :stored, updated_at = now(), head_seq = NULL,
    branches = CASE WHEN coalesce(:after::bigint, head_seq, last_seq) = last_seq THEN branches
                    ELSE branches || ARRAY[[last_seq + 1, coalesce(:after::bigint, head_seq)]] END,
    title = coalesce(title, :title), title_key = CASE WHEN title IS NULL THEN :title_key ELSE title_key END
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL AND is_kept
RETURNING id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived, last_seq, branches, head_seq,
    title_by = 'question' AND title_asked_at IS NULL AS wants_title;

-- name: list_history
-- The newest of some messages of a chat that have text, newest first, as the prompt needs them.
SELECT role, content, tokens, tokenizer
FROM chat.messages
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND seq = ANY(:seqs::bigint[]) AND content <> ''
ORDER BY seq DESC
LIMIT :row_limit;

-- name: add_message^
-- One message.
INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, tokens, tokenizer, status, metadata)
VALUES (:message_id, :tenant_id, :chat_id, :seq, :role, :content, :content_key, :tokens, :tokenizer, :status, :metadata::jsonb)
RETURNING id, chat_id, seq, role, content, citations, usage, model, status, metadata, scope, created_at;

-- name: find_message^
-- One message of a caller's chat.
SELECT m.id, m.chat_id, m.seq, m.role, m.content, m.citations, m.usage, m.model, m.status, m.metadata, m.scope, m.created_at
FROM chat.messages m
JOIN chat.chats c ON c.tenant_id = m.tenant_id AND c.id = m.chat_id
WHERE m.tenant_id = :tenant_id AND m.id = :message_id AND c.subject_id = :subject_id AND c.deleted_at IS NULL;

-- name: find_running$
-- The turn that is writing an answer of a caller's chat.
SELECT t.id
FROM chat.turns t
JOIN chat.chats c ON c.tenant_id = t.tenant_id AND c.id = t.chat_id
WHERE t.tenant_id = :tenant_id AND t.message_id = :message_id AND t.state = 'running'
  AND c.subject_id = :subject_id AND c.deleted_at IS NULL;

-- name: list_messages
-- The first of a chat's messages that are in some stretches of numbers, in order of time.
SELECT m.id, m.chat_id, m.seq, m.role, m.content, m.citations, m.usage, m.model, m.status, m.metadata, m.scope, m.created_at
FROM unnest(:firsts::bigint[], :lasts::bigint[]) AS stretch (first, last)
CROSS JOIN LATERAL (
    -- of each stretch no more than the page holds: a long one is not read to its end
    SELECT * FROM chat.messages
    WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND seq BETWEEN stretch.first AND stretch.last
    ORDER BY seq
    LIMIT :row_limit
) m
ORDER BY m.seq
LIMIT :row_limit;

-- name: list_ids
-- The ids of a chat's messages by their numbers; also of answers that are being written, which are not there yet.
SELECT seq, id, true AS is_there FROM chat.messages
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND seq = ANY(:seqs::bigint[])
UNION ALL
SELECT answer_seq, message_id, false FROM chat.turns
WHERE tenant_id = :tenant_id AND chat_id = :chat_id AND answer_seq = ANY(:seqs::bigint[]) AND state = 'running';

-- name: choose_head!
-- Show a chat up to this message.
UPDATE chat.chats SET head_seq = nullif(:head_seq, last_seq)
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL;

-- name: lock_quotes_shared!
-- Let no deletion empty quotes until this transaction has stored its own: its `mark_deleted` then finds them.
SELECT pg_advisory_xact_lock_shared(hashtextextended('chat.quotes', :tenant_id));

-- name: lock_quotes!
-- Wait for the answers that are being stored, before a deletion looks for its quotes.
SELECT pg_advisory_xact_lock(hashtextextended('chat.quotes', :tenant_id));

-- name: mark_deleted!
-- Empty quote, title and file name of a document in every answer that cites it; the citation stays, marked.
UPDATE chat.messages m
SET citations = (SELECT jsonb_agg(CASE WHEN c ->> 'document_id' = :document_id
                                       THEN c || '{"quote": "", "title": "", "filename": "", "deleted": true}' ELSE c END ORDER BY place)
                 FROM jsonb_array_elements(m.citations) WITH ORDINALITY AS each (c, place))
WHERE m.tenant_id = :tenant_id AND m.citations <> '[]' AND m.citations @> :cites::jsonb
  AND EXISTS (SELECT FROM jsonb_array_elements(m.citations) AS c
              WHERE c ->> 'document_id' = :document_id AND c -> 'deleted' IS NULL);

-- name: list_chats
-- A page of a caller's chats, archived or not: pinned ones first, then most recently used first.
SELECT id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived
FROM chat.chats
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND deleted_at IS NULL AND is_kept
  AND archived = :archived::boolean
  AND (:pinned::boolean IS NULL OR pinned = :pinned::boolean)
  AND (:chatbot_id::uuid IS NULL OR chatbot_id = :chatbot_id::uuid)
  AND (:after_id::uuid IS NULL
       OR (pinned, updated_at, id) < (:after_pinned::boolean, :after_time::timestamptz, :after_id::uuid))
ORDER BY pinned DESC, updated_at DESC, id DESC
LIMIT :row_limit;

-- name: search_chats
-- As `list_chats`, of those whose title or one of whose messages holds the folded text; with some text around where it
-- stands in the last such message. Keys are shorter or longer than their text: where it stands in that is estimated.
SELECT c.id, coalesce(c.chatbot_session_key, c.session_key) AS session_key, c.title, c.created_at, c.updated_at, c.message_count, c.pinned, c.archived,
       hit.message_id, hit.excerpt
FROM chat.chats c
LEFT JOIN LATERAL (
    SELECT m.id AS message_id,
           -- position() and not LIKE, so that percent and underscore are letters like any other
           substr(m.content,
                  greatest(1, (position(:needle::text IN m.content_key)::bigint * length(m.content)
                               / greatest(1, length(m.content_key)))::integer - 400),
                  800 + 2 * length(:needle::text)) AS excerpt
    FROM chat.messages m
    WHERE m.tenant_id = c.tenant_id AND m.chat_id = c.id AND position(:needle::text IN m.content_key) > 0
    ORDER BY m.seq DESC
    LIMIT 1
) hit ON true
WHERE c.tenant_id = :tenant_id AND c.subject_id = :subject_id AND c.deleted_at IS NULL AND c.is_kept
  AND c.archived = :archived::boolean
  AND (:pinned::boolean IS NULL OR c.pinned = :pinned::boolean)
  AND (:chatbot_id::uuid IS NULL OR c.chatbot_id = :chatbot_id::uuid)
  AND (:after_id::uuid IS NULL
       OR (c.pinned, c.updated_at, c.id)
          < (:after_pinned::boolean, :after_time::timestamptz, :after_id::uuid))
  AND (position(:needle::text IN c.title_key) > 0 OR hit.message_id IS NOT NULL)
ORDER BY c.pinned DESC, c.updated_at DESC, c.id DESC
LIMIT :row_limit;

-- name: change_chat^
-- Another title, pinned, archived, or what of it is given; only another title counts as use.
UPDATE chat.chats
SET title = coalesce(:title, title), title_key = CASE WHEN :title::text IS NULL THEN title_key ELSE :title_key END,
    title_by = CASE WHEN :title::text IS NULL THEN title_by ELSE 'user' END,
    updated_at = CASE WHEN :title::text IS NULL THEN updated_at ELSE now() END,
    pinned = coalesce(:pinned, pinned), archived = coalesce(:archived, archived)
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL AND is_kept
RETURNING id, coalesce(chatbot_session_key, session_key) AS session_key, title, created_at, updated_at, message_count, pinned, archived;

-- name: lock_chat^
-- An own chat, kept from being written to: what a question that was quicker has stored is seen by the next statement.
SELECT id FROM chat.chats
WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL
FOR UPDATE;

-- name: list_unused
-- Chats of a tenant, or one of them, with no message since a moment and no answer that is written.
SELECT c.id, c.subject_type, c.subject_id
FROM chat.chats c
WHERE c.tenant_id = :tenant_id AND c.deleted_at IS NULL AND c.created_at < :before
  AND (:chat_id::uuid IS NULL OR c.id = :chat_id::uuid)
  AND NOT EXISTS (SELECT FROM chat.messages m
                  WHERE m.tenant_id = :tenant_id AND m.chat_id = c.id AND m.created_at >= :before)
  AND NOT EXISTS (SELECT FROM chat.turns t
                  WHERE t.tenant_id = :tenant_id AND t.chat_id = c.id AND t.state = 'running')
LIMIT :row_limit;

-- name: delete_chat^
-- Turn a chat into a tombstone; its messages and finished turns go, a running turn is named so that it can be stopped.
WITH gone AS (
    UPDATE chat.chats SET deleted_at = now(), title = NULL, title_key = '', session_key = NULL, chatbot_session_key = NULL,
        message_count = 0
    WHERE tenant_id = :tenant_id AND subject_id = :subject_id AND id = :chat_id AND deleted_at IS NULL
    RETURNING id
), emptied AS (
    DELETE FROM chat.messages m USING gone WHERE m.tenant_id = :tenant_id AND m.chat_id = gone.id
), unshared AS (
    DELETE FROM chat.shares s USING gone WHERE s.tenant_id = :tenant_id AND s.chat_id = gone.id
), closed AS (
    DELETE FROM chat.chat_sessions s USING gone WHERE s.tenant_id = :tenant_id AND s.chat_id = gone.id
), finished AS (
    DELETE FROM chat.turns t USING gone
    WHERE t.tenant_id = :tenant_id AND t.chat_id = gone.id AND t.state <> 'running'
    RETURNING t.*
), owed AS (
    -- what an answer cost outlives its turn, by ids and without words: the ledger may still have to be told again
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
SELECT gone.id,
       ARRAY(SELECT t.id FROM chat.turns t WHERE t.tenant_id = :tenant_id AND t.chat_id = gone.id) AS turn_ids
FROM gone;
