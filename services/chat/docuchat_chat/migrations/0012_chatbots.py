"""Chatbots, their published versions, and what is still to be done about those that are gone."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, guard_ddl, tenant_policy_ddl

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

APP = ("docuchat_chat",)
SYSTEM = ("docuchat_chat_system",)

TABLES = """
CREATE TABLE chat.chatbots (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    name text NOT NULL,
    name_key text NOT NULL,
    description text NOT NULL DEFAULT '',
    draft jsonb NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    last_version integer NOT NULL DEFAULT 0,
    live_version integer,
    origins text[] NOT NULL DEFAULT '{}',
    demo_messages integer CONSTRAINT chatbots_demo_messages CHECK (demo_messages >= 0),
    tokens_per_month bigint CONSTRAINT chatbots_tokens_per_month CHECK (tokens_per_month > 0),
    tokens_per_visitor bigint CONSTRAINT chatbots_tokens_per_visitor CHECK (tokens_per_visitor > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chatbots_tenant_id_id UNIQUE (tenant_id, id),
    CONSTRAINT chatbots_live_version CHECK (live_version BETWEEN 1 AND last_version)
);
COMMENT ON COLUMN chat.chatbots.name_key IS 'Folded name, for search.';
COMMENT ON COLUMN chat.chatbots.draft IS 'What the next version will be: edited freely, answers nobody but who tries it out.';
COMMENT ON COLUMN chat.chatbots.revision IS 'Grows with each edit, so that one editor notices the other.';
COMMENT ON COLUMN chat.chatbots.live_version IS 'The version that answers; null while none does.';
COMMENT ON COLUMN chat.chatbots.demo_messages IS 'Messages a visitor may send a month: null as the installation says, 0 no limit.';

CREATE TABLE chat.chatbot_versions (
    tenant_id bigint NOT NULL,
    chatbot_id uuid NOT NULL,
    version integer NOT NULL CONSTRAINT chatbot_versions_version CHECK (version >= 1),
    config jsonb NOT NULL,
    restored_from integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chatbot_versions_key PRIMARY KEY (tenant_id, chatbot_id, version),
    CONSTRAINT chatbot_versions_chatbot FOREIGN KEY (tenant_id, chatbot_id)
        REFERENCES chat.chatbots (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.chatbot_versions IS 'What answered, for ever: nobody may change a row, and it goes with its chatbot alone.';

CREATE TABLE chat.removed_chatbots (
    tenant_id bigint NOT NULL,
    chatbot_id uuid NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT removed_chatbots_key PRIMARY KEY (tenant_id, chatbot_id)
);
COMMENT ON TABLE chat.removed_chatbots IS 'Which chatbots are gone: their chats are deleted, also those that were on their way then.';

CREATE TABLE chat.untold_chatbots (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    chatbot_id uuid NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chat.untold_chatbots IS 'Of which chatbots auth may know something else than is true: it is told again.';

ALTER TABLE chat.chats ADD COLUMN chatbot_id uuid;
COMMENT ON COLUMN chat.chats.chatbot_id IS 'The chatbot that answers in it, null where none does; the same for ever.';
CREATE INDEX chats_by_chatbot ON chat.chats (tenant_id, chatbot_id, updated_at DESC, id DESC)
    WHERE chatbot_id IS NOT NULL AND deleted_at IS NULL;
ALTER TABLE chat.turns ADD COLUMN chatbot_id uuid, ADD COLUMN chatbot_version integer;
COMMENT ON COLUMN chat.turns.chatbot_version IS 'The version that answers; 0 is the draft.';
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.chatbots TO docuchat_chat;
GRANT SELECT, INSERT ON chat.chatbot_versions TO docuchat_chat;
GRANT SELECT, INSERT ON chat.removed_chatbots TO docuchat_chat;
GRANT SELECT, DELETE ON chat.removed_chatbots TO docuchat_chat_system;
GRANT SELECT, INSERT, DELETE ON chat.untold_chatbots TO docuchat_chat;
GRANT SELECT, DELETE ON chat.untold_chatbots TO docuchat_chat_system;
GRANT SELECT (chatbot_id) ON chat.chats TO docuchat_chat_system;
"""


def upgrade() -> None:
    """Tables and columns are added; versions refer to their chatbot, and need no guard of their own."""
    op.execute(TABLES)
    for table in ("chatbots", "chatbot_versions", "removed_chatbots", "untold_chatbots"):
        op.execute(tenant_policy_ddl(f"chat.{table}", app_roles=APP, system_roles=SYSTEM))
        op.execute(erasable_ddl("chat", table))
    for table in ("chatbots", "removed_chatbots", "untold_chatbots"):
        op.execute(guard_ddl("chat", table))
    op.execute(GRANTS)


downgrade = forward_only
