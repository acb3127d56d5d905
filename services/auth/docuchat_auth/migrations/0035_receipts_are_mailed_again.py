"""A receipt that no mail server takes is mailed again, by one process at a time."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_STEPS = """
ALTER TABLE auth.tenant_receipts ADD COLUMN mail_after timestamptz;
COMMENT ON COLUMN auth.tenant_receipts.mail_after IS 'Until then nobody tries to mail it, since somebody just does. Null: nobody has.';
COMMENT ON COLUMN auth.tenant_receipts.mail_to IS 'Its owners, each until the receipt was mailed there, for some days at most.';
GRANT UPDATE (mail_after) ON auth.tenant_receipts TO docuchat_auth_system;
"""


def upgrade() -> None:
    """A column, which what runs meanwhile leaves empty."""
    op.execute(_STEPS)


downgrade = forward_only
