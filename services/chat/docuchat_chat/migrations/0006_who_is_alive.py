"""One way to ask which processes are alive, the same as in `knowledge`."""

from alembic import op

from docuchat_common.db.ddl import forward_only, presence_ddl

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A function is added: processes of the version before go on asking for the locks themselves."""
    op.execute(presence_ddl("chat", roles=("docuchat_chat_system",)))


downgrade = forward_only
