"""To whom the secret of an API key was shown, who may have kept it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

# of a secret that a rotation brought before, nobody remembers to whom; it counts as shown to who made the key
_STEPS = """
ALTER TABLE auth.api_key_secrets ADD COLUMN shown_to uuid;
COMMENT ON COLUMN auth.api_key_secrets.shown_to IS 'The user who made it; empty: who made the key.';
"""


def upgrade() -> None:
    """A column, which what runs meanwhile leaves empty."""
    op.execute(_STEPS)


downgrade = forward_only
