"""Links to identity providers can be cut."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT DELETE ON auth.federated_identities TO docuchat_auth")


downgrade = forward_only
