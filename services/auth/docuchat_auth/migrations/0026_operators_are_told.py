"""Whoever owns the tables tells the audit log of a new operator's credential, in the transaction that makes it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

# forced row-level security binds the owner, too
POLICY = """
CREATE POLICY operators_made ON auth.outbox FOR INSERT TO CURRENT_USER
    WITH CHECK (tenant_id = 0 AND type = 'audit.recorded.v1')
"""


def upgrade() -> None:
    """One policy more."""
    op.execute(POLICY)


downgrade = forward_only
