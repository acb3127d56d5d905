"""Chats have branches: a question or an answer may follow another message than the one before it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TREE = """
ALTER TABLE chat.chats
    ADD COLUMN branches bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN head_seq bigint;
COMMENT ON COLUMN chat.chats.branches IS
    'Pairs, by number: a message that begins a branch, and the one it follows (0: none). All others follow the one numbered before.';
COMMENT ON COLUMN chat.chats.head_seq IS 'The end of the path that its owner chose to be shown; null: the newest message.';

ALTER TABLE chat.messages ADD COLUMN scope jsonb;
COMMENT ON COLUMN chat.messages.scope IS 'Which documents a question was asked of; null: all that its asker may read.';
"""

TURNS = """
-- what is being answered is found by its number, too
CREATE INDEX turns_by_place ON chat.turns (tenant_id, chat_id, answer_seq);
DROP INDEX chat.turns_by_chat;
"""


def upgrade() -> None:
    """Add columns; what processes of the version before write follows the message before it, as it always did."""
    op.execute(TREE)
    op.execute(TURNS)


downgrade = forward_only
