"""Chats, messages, turns and idempotency keys, each under forced row-level security."""

from alembic import op

from docuchat_common.db.ddl import forward_only, inbox_ddl, outbox_ddl, tenant_policy_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APP = ("docuchat_chat",)
SYSTEM = ("docuchat_chat_system",)

TABLES = """
CREATE TABLE chat.chats (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    user_id uuid NOT NULL,
    session_key text,
    title text,
    title_key text NOT NULL DEFAULT '',
    last_seq bigint NOT NULL DEFAULT 0,
    message_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT chats_tenant_id_id UNIQUE (tenant_id, id)
);
COMMENT ON COLUMN chat.chats.session_key IS 'The session_id that the client chose; null when it chose none.';
COMMENT ON COLUMN chat.chats.title_key IS 'Folded title, for search.';
CREATE UNIQUE INDEX chats_session_key ON chat.chats (tenant_id, user_id, session_key)
    WHERE session_key IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX chats_by_recency ON chat.chats (tenant_id, user_id, updated_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE chat.messages (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    chat_id uuid NOT NULL,
    seq bigint NOT NULL,
    role text NOT NULL CONSTRAINT messages_role CHECK (role IN ('user', 'assistant')),
    content text NOT NULL,
    content_key text NOT NULL,
    tokens integer,
    tokenizer text,
    citations jsonb NOT NULL DEFAULT '[]',
    usage jsonb,
    model text,
    status text NOT NULL CONSTRAINT messages_status CHECK (status IN ('complete', 'interrupted', 'stopped', 'failed')),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT messages_chat FOREIGN KEY (tenant_id, chat_id) REFERENCES chat.chats (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT messages_chat_id_seq UNIQUE (tenant_id, chat_id, seq)
);
COMMENT ON COLUMN chat.messages.citations IS 'A snapshot, so that an answer stays checkable when its documents change.';
COMMENT ON COLUMN chat.messages.content_key IS 'Folded text, for search.';

CREATE TABLE chat.turns (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    user_id uuid NOT NULL,
    chat_id uuid NOT NULL,
    session_id text NOT NULL,
    user_message_id uuid NOT NULL,
    message_id uuid NOT NULL,
    answer_seq bigint NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    hold_id uuid,
    prompt_tokens integer NOT NULL CONSTRAINT turns_prompt_tokens CHECK (prompt_tokens >= 0),
    sources jsonb NOT NULL DEFAULT '[]',
    owner text NOT NULL,
    state text NOT NULL DEFAULT 'running'
        CONSTRAINT turns_state CHECK (state IN ('running', 'completed', 'stopped', 'interrupted', 'failed')),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    input_tokens integer,
    output_tokens integer,
    estimated boolean,
    finish_reason text,
    frame_lengths integer[] NOT NULL DEFAULT '{}',
    error_code text,
    error_message text,
    retry_after_seconds integer,
    not_cited integer[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT turns_chat FOREIGN KEY (tenant_id, chat_id) REFERENCES chat.chats (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT turns_finished CHECK ((state = 'running') = (finished_at IS NULL))
);
COMMENT ON TABLE chat.turns IS 'Written before the provider is called, settled exactly once: the row that makes billing survive a crash.';
COMMENT ON COLUMN chat.turns.frame_lengths IS 'Characters of each delta frame, so that a finished turn resumes at any frame.';
CREATE INDEX turns_running ON chat.turns (heartbeat_at) WHERE state = 'running';
CREATE INDEX turns_by_chat ON chat.turns (tenant_id, chat_id);

CREATE TABLE chat.idempotency_keys (
    tenant_id bigint NOT NULL,
    user_id uuid NOT NULL,
    key text NOT NULL,
    request_hash text NOT NULL,
    turn_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_key PRIMARY KEY (tenant_id, user_id, key)
);
CREATE INDEX idempotency_keys_created_at ON chat.idempotency_keys (created_at);
"""

GRANTS = """
GRANT USAGE ON SCHEMA chat TO docuchat_chat, docuchat_chat_system;
GRANT SELECT, INSERT, UPDATE ON chat.chats TO docuchat_chat;
GRANT SELECT, INSERT, DELETE ON chat.messages TO docuchat_chat;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.turns TO docuchat_chat;
GRANT SELECT, INSERT, DELETE ON chat.idempotency_keys TO docuchat_chat;
GRANT SELECT (id, tenant_id, owner, state, heartbeat_at) ON chat.turns TO docuchat_chat_system;
GRANT UPDATE (heartbeat_at) ON chat.turns TO docuchat_chat_system;
GRANT SELECT (created_at), DELETE ON chat.idempotency_keys TO docuchat_chat_system;
"""


def upgrade() -> None:
    """Create the schema's tables, policies and grants."""
    op.execute(TABLES)
    for table in ("chat.chats", "chat.messages", "chat.turns", "chat.idempotency_keys"):
        op.execute(tenant_policy_ddl(table, app_roles=APP, system_roles=SYSTEM))
    op.execute(GRANTS)
    op.execute(outbox_ddl("chat", app_roles=APP, system_roles=SYSTEM))
    op.execute(inbox_ddl("chat", roles=APP, system_roles=SYSTEM))


downgrade = forward_only
