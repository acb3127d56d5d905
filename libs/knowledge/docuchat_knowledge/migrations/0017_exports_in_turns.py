"""A person's archive has what the person may read; archives are made by tenant in turns, and a new one replaces the older."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STEPS = """
ALTER TABLE knowledge.exports ADD COLUMN claimed_at timestamptz;
COMMENT ON COLUMN knowledge.exports.claimed_at IS 'When a worker began to make it last: whose tenant waited longest is next.';
CREATE INDEX exports_turns ON knowledge.exports (tenant_id, claimed_at DESC) WHERE claimed_at IS NOT NULL;

GRANT EXECUTE ON FUNCTION knowledge.accessible_v1 TO docuchat_ingest;
"""


def upgrade() -> None:
    """A column and a right are added."""
    op.execute(STEPS)


downgrade = forward_only
