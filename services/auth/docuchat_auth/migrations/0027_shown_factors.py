"""A session remembers whether a second factor was shown in it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

# what began before stays as it is; what processes of the release before begin meanwhile has shown none
_STEPS = """
ALTER TABLE auth.refresh_tokens ADD COLUMN factor_shown boolean NOT NULL DEFAULT true;
ALTER TABLE auth.refresh_tokens ALTER COLUMN factor_shown SET DEFAULT false;
COMMENT ON COLUMN auth.refresh_tokens.factor_shown IS 'Whether a second factor was shown, or set up, in the sign-in that began the family.';
GRANT UPDATE (factor_shown) ON auth.refresh_tokens TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_STEPS)


downgrade = forward_only
