"""Who changes a tenant's sign-up sees in the same transaction which domains it has proven."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE POLICY system_reads ON auth.domains FOR SELECT TO docuchat_auth_system USING (true);"
        "GRANT SELECT (tenant_id, domain, verified_at) ON auth.domains TO docuchat_auth_system"
    )


downgrade = forward_only
