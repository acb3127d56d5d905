-- name: find_tenant_of_chatbot(chatbot_id)$
-- Whose chatbot it is: a page names a chatbot, and no tenant.
SELECT tenant_id FROM auth.chatbots WHERE id = :chatbot_id;

-- name: find_chatbot(tenant_id, chatbot_id)^
-- A chatbot by its id.
SELECT tenant_id, id, origins, version, created_by, created_at
FROM auth.chatbots
WHERE tenant_id = :tenant_id AND id = :chatbot_id;

-- name: lock_chatbot(key)!
-- Changes of one chatbot take turns.
SELECT pg_advisory_xact_lock(hashtextextended(:key, 0));

-- name: add_chatbot(tenant_id, chatbot_id, origins, created_by, created_at)!
-- A new chatbot.
INSERT INTO auth.chatbots (tenant_id, id, origins, created_by, created_at)
VALUES (:tenant_id, :chatbot_id, :origins, :created_by, :created_at);

-- name: set_origins(tenant_id, chatbot_id, origins, version)!
-- Which pages may show a chatbot from now on.
UPDATE auth.chatbots SET origins = :origins, version = :version
WHERE tenant_id = :tenant_id AND id = :chatbot_id;

-- name: delete_chatbot(tenant_id, chatbot_id)$
-- A chatbot with its keys; no row when there was none.
DELETE FROM auth.chatbots WHERE tenant_id = :tenant_id AND id = :chatbot_id RETURNING true;
