"""A session belongs to a chatbot: the same name, used with another one, is another chat."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Processes of the version before name their sessions by the index on session_key, which stays as it is: they go on, and
# what they begin meanwhile is found here as well.
STEPS = """
ALTER TABLE chat.chats ADD COLUMN chatbot_session_key text;
COMMENT ON COLUMN chat.chats.chatbot_session_key IS
    'As session_key, of a chat with a chatbot: the name that its client chose, once for each chatbot.';
UPDATE chat.chats SET chatbot_session_key = session_key, session_key = NULL
    WHERE chatbot_id IS NOT NULL AND session_key IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX chats_chatbot_session_key ON chat.chats (tenant_id, subject_id, chatbot_id, chatbot_session_key)
    WHERE chatbot_session_key IS NOT NULL AND deleted_at IS NULL;
"""


def upgrade() -> None:
    """Add a column and its index; the names that are there move into it."""
    op.execute(STEPS)


downgrade = forward_only
