"""A tenant may be suspended."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMN = """
ALTER TABLE auth.tenants ADD COLUMN suspended_at timestamptz;
COMMENT ON COLUMN auth.tenants.suspended_at IS 'Since when nothing but reading is allowed; null: it is not suspended.';
GRANT UPDATE (suspended_at) ON auth.tenants TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_COLUMN)


downgrade = forward_only
