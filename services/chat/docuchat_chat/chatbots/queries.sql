-- name: find_tenant$
-- Whose a chatbot is.
SELECT tenant_id FROM chat.chatbots WHERE id = :chatbot_id;

-- name: find_live^
-- A chatbot and the version that answers: all that a question needs of it, by one statement.
SELECT c.id, c.tenant_id, c.name, c.description, c.revision, c.last_version, c.live_version, c.origins, c.demo_messages,
       c.tokens_per_month, c.tokens_per_visitor, c.created_at, c.updated_at,
       v.version, v.config, v.restored_from, v.created_at AS version_created_at
FROM chat.chatbots c
LEFT JOIN chat.chatbot_versions v ON v.tenant_id = c.tenant_id AND v.chatbot_id = c.id AND v.version = c.live_version
WHERE c.tenant_id = :tenant_id AND c.id = :chatbot_id;

-- name: find_version^
-- A chatbot and one of its versions.
SELECT c.id, c.tenant_id, c.name, c.description, c.revision, c.last_version, c.live_version, c.origins, c.demo_messages,
       c.tokens_per_month, c.tokens_per_visitor, c.created_at, c.updated_at,
       v.version, v.config, v.restored_from, v.created_at AS version_created_at
FROM chat.chatbots c
LEFT JOIN chat.chatbot_versions v ON v.tenant_id = c.tenant_id AND v.chatbot_id = c.id AND v.version = :version
WHERE c.tenant_id = :tenant_id AND c.id = :chatbot_id;

-- name: find_edited^
-- A chatbot with its draft and what is live.
SELECT c.id, c.tenant_id, c.name, c.description, c.revision, c.last_version, c.live_version, c.origins, c.demo_messages,
       c.tokens_per_month, c.tokens_per_visitor, c.created_at, c.updated_at, c.draft,
       v.version, v.config, v.restored_from, v.created_at AS version_created_at
FROM chat.chatbots c
LEFT JOIN chat.chatbot_versions v ON v.tenant_id = c.tenant_id AND v.chatbot_id = c.id AND v.version = c.live_version
WHERE c.tenant_id = :tenant_id AND c.id = :chatbot_id;

-- name: lock_chatbot^
-- Let nobody else edit, publish or delete a chatbot; the next statement sees what a quicker one has done.
SELECT id FROM chat.chatbots WHERE tenant_id = :tenant_id AND id = :chatbot_id FOR UPDATE;

-- name: list_chatbots
-- A page of chatbots, newest first, with their drafts and what is live.
SELECT c.id, c.tenant_id, c.name, c.description, c.revision, c.last_version, c.live_version, c.origins, c.demo_messages,
       c.tokens_per_month, c.tokens_per_visitor, c.created_at, c.updated_at, c.draft,
       v.version, v.config, v.restored_from, v.created_at AS version_created_at
FROM chat.chatbots c
LEFT JOIN chat.chatbot_versions v ON v.tenant_id = c.tenant_id AND v.chatbot_id = c.id AND v.version = c.live_version
WHERE c.tenant_id = :tenant_id
  AND (:before::uuid IS NULL OR c.id < :before::uuid)
  AND (NOT :live_only OR c.live_version IS NOT NULL)
  AND (:needle::text IS NULL OR position(:needle::text IN c.name_key) > 0)
ORDER BY c.id DESC
LIMIT :row_limit;

-- name: count_in_turn$
-- Let those who make chatbots of one tenant come one after the other, so that each counts those before it.
SELECT pg_advisory_xact_lock(hashtextextended('chat.chatbots', :tenant_id));

-- name: count_chatbots$
-- How many chatbots a tenant has.
SELECT count(*) FROM chat.chatbots WHERE tenant_id = :tenant_id;

-- name: add_chatbot!
-- A new chatbot, with a draft and nothing published.
INSERT INTO chat.chatbots (id, tenant_id, name, name_key, description, draft, origins, demo_messages, tokens_per_month,
                           tokens_per_visitor)
VALUES (:chatbot_id, :tenant_id, :name, :name_key, :description, :draft::jsonb, :origins, :demo_messages, :tokens_per_month,
        :tokens_per_visitor);

-- name: save_chatbot!
-- An edit of a locked chatbot.
UPDATE chat.chatbots
SET name = :name, name_key = :name_key, description = :description, draft = :draft::jsonb, origins = :origins,
    demo_messages = :demo_messages, tokens_per_month = :tokens_per_month, tokens_per_visitor = :tokens_per_visitor,
    revision = revision + 1, updated_at = now()
WHERE tenant_id = :tenant_id AND id = :chatbot_id;

-- name: publish^
-- The next version of a locked chatbot, live from the commit on.
WITH counted AS (
    UPDATE chat.chatbots SET last_version = last_version + 1, live_version = last_version + 1, updated_at = now()
    WHERE tenant_id = :tenant_id AND id = :chatbot_id
    RETURNING tenant_id, id, last_version
)
INSERT INTO chat.chatbot_versions (tenant_id, chatbot_id, version, config, restored_from)
SELECT counted.tenant_id, counted.id, counted.last_version, :config::jsonb, :restored_from FROM counted
RETURNING chatbot_id, version, config, restored_from, created_at AS version_created_at;

-- name: unpublish!
-- No version answers.
UPDATE chat.chatbots SET live_version = NULL, updated_at = now() WHERE tenant_id = :tenant_id AND id = :chatbot_id;

-- name: list_versions
-- A page of a chatbot's versions, newest first.
SELECT v.chatbot_id, v.version, v.config, v.restored_from, v.created_at AS version_created_at
FROM chat.chatbot_versions v
WHERE v.tenant_id = :tenant_id AND v.chatbot_id = :chatbot_id AND (:before::integer IS NULL OR v.version < :before::integer)
ORDER BY v.version DESC
LIMIT :row_limit;

-- name: remove_chatbot^
-- Delete a chatbot, its versions with it, and remember that it is gone.
WITH gone AS (
    DELETE FROM chat.chatbots WHERE tenant_id = :tenant_id AND id = :chatbot_id RETURNING tenant_id, id
)
INSERT INTO chat.removed_chatbots (tenant_id, chatbot_id)
SELECT gone.tenant_id, gone.id FROM gone
RETURNING chatbot_id;

-- name: list_gone
-- Those of these chatbots that are not there.
SELECT wanted.id FROM unnest(:chatbot_ids::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM chat.chatbots c WHERE c.tenant_id = :tenant_id AND c.id = wanted.id);

-- name: note_untold!
-- Auth is about to be told of a chatbot; until that is confirmed it may know something else than is true.
INSERT INTO chat.untold_chatbots (id, tenant_id, chatbot_id) VALUES (:note_id, :tenant_id, :chatbot_id);

-- name: confirm_told^
-- Auth knows what this transaction makes true; nothing is returned when the sweep may be telling it otherwise by now.
DELETE FROM chat.untold_chatbots
WHERE tenant_id = :tenant_id AND id = :note_id AND noted_at > clock_timestamp() - :within::interval
RETURNING id;

-- name: list_untold
-- What auth was to be told for so long that whoever began it has given up (system role).
SELECT id, tenant_id, chatbot_id FROM chat.untold_chatbots
WHERE noted_at < now() - :patience::interval
ORDER BY noted_at
LIMIT :row_limit;

-- name: forget_note!
-- Auth was told what is still true. A note that stays has it told again: of what was changed since, or is just being changed,
-- auth may have been told before it was told this.
DELETE FROM chat.untold_chatbots n
WHERE n.tenant_id = :tenant_id AND n.id = :note_id
  AND (SELECT c.origins FROM chat.chatbots c WHERE c.tenant_id = n.tenant_id AND c.id = n.chatbot_id)
      IS NOT DISTINCT FROM :origins::text[]
  AND NOT EXISTS (SELECT FROM chat.untold_chatbots o
                  WHERE o.tenant_id = n.tenant_id AND o.chatbot_id = n.chatbot_id AND o.id <> n.id
                    AND o.noted_at > now() - :patience::interval);

-- name: forget_removed!
-- Chatbots that have been gone for so long that nothing of them can be on its way, once no chat of theirs is left (system role).
DELETE FROM chat.removed_chatbots r
WHERE r.removed_at < now() - :older_than::interval
  AND NOT EXISTS (SELECT FROM chat.chats c
                  WHERE c.tenant_id = r.tenant_id AND c.chatbot_id = r.chatbot_id AND c.deleted_at IS NULL);
