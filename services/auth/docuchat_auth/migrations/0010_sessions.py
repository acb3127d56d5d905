"""Where a session was last used from; users change their name."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STEPS = """
ALTER TABLE auth.refresh_tokens
    ADD COLUMN device text NOT NULL DEFAULT '',
    ADD COLUMN address text NOT NULL DEFAULT '';
COMMENT ON COLUMN auth.refresh_tokens.device IS 'What the client said of itself in the request that brought the token.';
GRANT UPDATE (name) ON auth.users TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_STEPS)


downgrade = forward_only
