"""A collection goes by the hand of those who manage it."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

POLICY = """
CREATE POLICY managers ON knowledge.collections AS RESTRICTIVE FOR DELETE TO docuchat_gateway
    USING (id IN (SELECT unnest(knowledge.accessible_v1('manage'))))
"""


def upgrade() -> None:
    """One policy more; its deletion takes members with it, which only managers see."""
    op.execute(POLICY)


downgrade = forward_only
