"""Prices of the providers that tenants bring."""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Not called tenant_id: a deleted tenant's prices stay as long as the ledger, whose entries refer to them.
STEPS = """
ALTER TABLE usage.prices ADD COLUMN owner_tenant bigint;
COMMENT ON COLUMN usage.prices.owner_tenant IS
    'The tenant whose own provider it is, under a name that begins with own/ and its id; null: the platform''s prices.';
ALTER TABLE usage.prices ADD CONSTRAINT prices_own_provider
    CHECK (owner_tenant IS NULL OR starts_with(provider, 'own/' || owner_tenant || '/'));
ALTER TABLE usage.prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage.prices FORCE ROW LEVEL SECURITY;
CREATE POLICY platform_and_own ON usage.prices FOR SELECT TO docuchat_usage
    USING (owner_tenant IS NULL OR owner_tenant = nullif(current_setting('app.tenant_id', true), '')::bigint);
CREATE POLICY system_access ON usage.prices TO docuchat_usage_system USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """A column is added; processes of the version before read and write prices as they did."""
    op.execute(STEPS)
    op.execute((Path(__file__).parent / "sql" / "price_of_v1.sql").read_text("utf-8"))


downgrade = forward_only
