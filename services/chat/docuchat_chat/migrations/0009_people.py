"""The chats of removed users go; a turn asked for with a key knows whose key it is."""

from alembic import op

from docuchat_common.db.ddl import forward_only, removed_users_ddl

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STEPS = """
ALTER TABLE chat.turns ADD COLUMN key_owner_id uuid;
COMMENT ON COLUMN chat.turns.key_owner_id IS 'The user whose API key asked, who pays for it as well.';
GRANT SELECT (subject_id) ON chat.chats TO docuchat_chat_system;
"""


def upgrade() -> None:
    """A column and a table are added."""
    op.execute(STEPS)
    op.execute(removed_users_ddl("chat", app_roles=("docuchat_chat",), system_roles=("docuchat_chat_system",)))


downgrade = forward_only
