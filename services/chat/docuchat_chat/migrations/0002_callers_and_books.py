"""Chats belong to callers of any kind; question embeddings are provider calls; deleted chats and documents leave nothing."""

from alembic import op

from docuchat_common.db.ddl import forward_only, provider_calls_ddl

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CALLERS = """
ALTER TABLE chat.chats RENAME COLUMN user_id TO subject_id;
ALTER TABLE chat.turns RENAME COLUMN user_id TO subject_id;
ALTER TABLE chat.idempotency_keys RENAME COLUMN user_id TO subject_id;
ALTER TABLE chat.chats ADD COLUMN subject_type text NOT NULL DEFAULT 'user';
ALTER TABLE chat.turns ADD COLUMN subject_type text NOT NULL DEFAULT 'user';
ALTER TABLE chat.chats ALTER COLUMN subject_type DROP DEFAULT;
ALTER TABLE chat.turns ALTER COLUMN subject_type DROP DEFAULT;
COMMENT ON COLUMN chat.chats.subject_id IS 'The user, visitor or API key whose chat it is; ids of different kinds never meet.';
"""

TURNS = """
ALTER TABLE chat.turns DROP COLUMN heartbeat_at;
ALTER TABLE chat.turns ADD COLUMN notice text;
ALTER TABLE chat.turns ADD COLUMN booked_at timestamptz;
COMMENT ON COLUMN chat.turns.owner IS 'Number of the process that answers: the second key of its advisory lock, its sign of life.';
COMMENT ON COLUMN chat.turns.booked_at IS 'When the ledger was seen to have the tokens of this turn.';
ALTER TABLE chat.idempotency_keys ADD COLUMN owner text;
CREATE INDEX turns_running ON chat.turns (created_at) WHERE state = 'running';
CREATE INDEX turns_unbooked ON chat.turns (finished_at) WHERE input_tokens IS NOT NULL AND booked_at IS NULL;
CREATE INDEX chats_deleted ON chat.chats (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX messages_citations ON chat.messages USING gin (citations jsonb_path_ops) WHERE citations <> '[]';
"""

GRANTS = """
GRANT UPDATE (citations) ON chat.messages TO docuchat_chat;
GRANT SELECT (id, tenant_id, chat_id, owner, state, created_at, finished_at, input_tokens, booked_at), UPDATE (booked_at), DELETE
    ON chat.turns TO docuchat_chat_system;
GRANT SELECT (event_id, tenant_id) ON chat.outbox TO docuchat_chat;
GRANT SELECT (id, tenant_id, deleted_at, updated_at), DELETE ON chat.chats TO docuchat_chat_system;
"""

APP = ("docuchat_chat",)
SYSTEM = ("docuchat_chat_system",)


def upgrade() -> None:
    """Change the tables."""
    op.execute(CALLERS)
    op.execute(TURNS)
    op.execute(GRANTS)
    op.execute(provider_calls_ddl("chat", app_roles=APP, system_roles=SYSTEM))


downgrade = forward_only
