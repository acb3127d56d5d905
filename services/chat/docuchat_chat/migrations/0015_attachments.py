"""Files are used in chats."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, tenant_policy_ddl

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE chat.chat_attachments (
    tenant_id bigint NOT NULL,
    chat_id uuid NOT NULL,
    document_id uuid NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT chat_attachments_key PRIMARY KEY (tenant_id, chat_id, document_id),
    CONSTRAINT chat_attachments_chat FOREIGN KEY (tenant_id, chat_id) REFERENCES chat.chats (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.chat_attachments IS 'Files that were attached to a question of a chat: its later questions are asked of them, too.';
CREATE INDEX chat_attachments_by_document ON chat.chat_attachments (tenant_id, document_id);
GRANT SELECT, INSERT, DELETE ON chat.chat_attachments TO docuchat_chat;
"""


def upgrade() -> None:
    """A table is added."""
    op.execute(TABLE)
    op.execute(tenant_policy_ddl("chat.chat_attachments", app_roles=("docuchat_chat",)))
    op.execute(erasable_ddl("chat", "chat_attachments"))


downgrade = forward_only
