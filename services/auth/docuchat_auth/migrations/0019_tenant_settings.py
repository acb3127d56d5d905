"""Admins change their tenant's name, and for how long it keeps chats and documents.

No file is missing before it: the numbers 0016 to 0018 were never used.
"""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0019"
down_revision = "0015"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE auth.tenants
    ADD COLUMN chats_days integer,
    ADD COLUMN documents_days integer,
    ADD COLUMN settings_version integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT tenants_retention CHECK (chats_days >= 1 AND documents_days >= 1);
COMMENT ON COLUMN auth.tenants.chats_days IS 'For how long chats are kept after their last message; null: for ever.';
COMMENT ON COLUMN auth.tenants.documents_days IS 'For how long documents are kept after their upload; null: for ever.';
COMMENT ON COLUMN auth.tenants.settings_version IS 'Grows with each change that other services are told.';
GRANT UPDATE (name, chats_days, documents_days, settings_version) ON auth.tenants TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_COLUMNS)


downgrade = forward_only
