-- name: keep!
-- Files that are used in a chat from now on.
INSERT INTO chat.chat_attachments (tenant_id, chat_id, document_id)
SELECT :tenant_id, :chat_id, wanted.id FROM unnest(:document_ids::uuid[]) AS wanted (id)
ON CONFLICT ON CONSTRAINT chat_attachments_key DO NOTHING;

-- name: release
-- A chat uses no files any more: those of them that no other chat uses.
WITH gone AS (
    DELETE FROM chat.chat_attachments a WHERE a.tenant_id = :tenant_id AND a.chat_id = :chat_id RETURNING a.document_id
)
SELECT gone.document_id FROM gone
WHERE NOT EXISTS (SELECT FROM chat.chat_attachments o
                  JOIN chat.chats c ON c.tenant_id = o.tenant_id AND c.id = o.chat_id AND c.deleted_at IS NULL
                  WHERE o.tenant_id = :tenant_id AND o.document_id = gone.document_id AND o.chat_id <> :chat_id)
ORDER BY gone.document_id;

-- name: list_unused
-- Those of these files that no chat uses.
SELECT wanted.id FROM unnest(:document_ids::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM chat.chat_attachments a
                  JOIN chat.chats c ON c.tenant_id = a.tenant_id AND c.id = a.chat_id AND c.deleted_at IS NULL
                  WHERE a.tenant_id = :tenant_id AND a.document_id = wanted.id);
