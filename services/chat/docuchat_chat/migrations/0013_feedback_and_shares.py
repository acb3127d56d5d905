"""Chats are pinned, archived and titled by a model; messages have feedback; chats are shared, and say who is there."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, tenant_policy_ddl

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

APP = ("docuchat_chat",)
SYSTEM = ("docuchat_chat_system",)

CHATS = """
ALTER TABLE chat.chats
    ADD COLUMN pinned boolean NOT NULL DEFAULT false,
    ADD COLUMN archived boolean NOT NULL DEFAULT false,
    ADD COLUMN title_by text NOT NULL DEFAULT 'user'
        CONSTRAINT chats_title_by CHECK (title_by IN ('question', 'model', 'user')),
    ADD COLUMN title_asked_at timestamptz;
-- who gave the titles that are there is not known: none of them is changed
ALTER TABLE chat.chats ALTER COLUMN title_by SET DEFAULT 'question';
COMMENT ON COLUMN chat.chats.title_by IS 'Whose words the title has: the beginning of the question, a model''s, or the user''s.';
COMMENT ON COLUMN chat.chats.title_asked_at IS 'When a model was about to be asked for a title: that happens once.';
-- in the order of the list; its first columns serve processes of the version before as well
CREATE INDEX chats_in_order ON chat.chats
    (tenant_id, subject_id, archived, pinned DESC, updated_at DESC, id DESC)
    WHERE deleted_at IS NULL;
DROP INDEX chat.chats_by_recency;
"""

TABLES = """
CREATE TABLE chat.feedback (
    tenant_id bigint NOT NULL,
    message_id uuid NOT NULL CONSTRAINT feedback_message REFERENCES chat.messages (id) ON DELETE CASCADE,
    subject_type text NOT NULL,
    subject_id uuid NOT NULL,
    rating text NOT NULL CONSTRAINT feedback_rating CHECK (rating IN ('up', 'down')),
    reason text,
    text text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feedback_key PRIMARY KEY (message_id, subject_id)
);
COMMENT ON TABLE chat.feedback IS 'What readers think of an answer: one row a message and subject.';
CREATE INDEX feedback_by_time ON chat.feedback (tenant_id, created_at);

CREATE TABLE chat.shares (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    chat_id uuid NOT NULL,
    token_hash bytea NOT NULL CONSTRAINT shares_token_hash UNIQUE,
    audience text NOT NULL CONSTRAINT shares_audience CHECK (audience IN ('tenant', 'link')),
    title text,
    last_seq bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT shares_chat FOREIGN KEY (tenant_id, chat_id) REFERENCES chat.chats (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.shares IS 'Links to what a chat was at a moment; who has the token may read it.';
COMMENT ON COLUMN chat.shares.last_seq IS 'The end of what was shown then: what came later is not shared.';
CREATE INDEX shares_by_chat ON chat.shares (tenant_id, chat_id);
CREATE INDEX shares_expires_at ON chat.shares (expires_at);

CREATE TABLE chat.chat_sessions (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    chat_id uuid NOT NULL,
    subject_type text NOT NULL,
    subject_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    last_activity timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chat_sessions_chat FOREIGN KEY (tenant_id, chat_id) REFERENCES chat.chats (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.chat_sessions IS 'Where a chat is open just now: a window or device that shows signs of life.';
CREATE INDEX chat_sessions_by_chat ON chat.chat_sessions (tenant_id, chat_id);
CREATE INDEX chat_sessions_last_activity ON chat.chat_sessions (last_activity);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.feedback TO docuchat_chat;
GRANT SELECT, INSERT, DELETE ON chat.shares TO docuchat_chat;
GRANT SELECT, INSERT, UPDATE (last_activity), DELETE ON chat.chat_sessions TO docuchat_chat;
GRANT SELECT (tenant_id, token_hash, expires_at), DELETE ON chat.shares TO docuchat_chat_system;
GRANT SELECT (last_activity), DELETE ON chat.chat_sessions TO docuchat_chat_system;
"""


def upgrade() -> None:
    """Add columns and tables."""
    op.execute(CHATS)
    op.execute(TABLES)
    for table in ("feedback", "shares", "chat_sessions"):
        op.execute(tenant_policy_ddl(f"chat.{table}", app_roles=APP, system_roles=SYSTEM))
        op.execute(erasable_ddl("chat", table))
    op.execute(GRANTS)


downgrade = forward_only
