"""Limits that the asker of a hold states, for a chatbot, its visitors and the addresses that they come from."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FUNCTIONS = ("open_budget_v1", "hold_v2", "drop_ended_v1")

# `visitors` are all visitors of a chatbot together. An address is a keyed hash.
STEPS = """
ALTER TABLE usage.budgets
    DROP CONSTRAINT budgets_subject_type_known,
    ADD CONSTRAINT budgets_subject_type_known
        CHECK (subject_type IN ('tenant', 'chatbot', 'key', 'user', 'visitor', 'address', 'visitors'));
ALTER TABLE usage.plan_limits
    DROP CONSTRAINT plan_limits_subject_type_known,
    ADD CONSTRAINT plan_limits_subject_type_known
        CHECK (subject_type IN ('tenant', 'chatbot', 'key', 'user', 'visitor', 'address', 'visitors'));
CREATE INDEX budgets_ending ON usage.budgets (period_end, tenant_id)
    WHERE subject_type IN ('chatbot', 'visitor', 'address', 'visitors');
CREATE INDEX ledger_by_visitor ON usage.ledger (tenant_id, visitor_id, occurred_at) WHERE visitor_id IS NOT NULL;
GRANT DELETE ON usage.budgets TO docuchat_usage_system;
"""


def upgrade() -> None:
    """Holds without stated limits go on by hold_v1."""
    op.execute(STEPS)
    for name in FUNCTIONS:
        op.execute((Path(__file__).parent / "sql" / f"{name}.sql").read_text("utf-8"))


downgrade = forward_only
