"""Groups of users."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_APP = ("docuchat_auth",)

_TABLES = """
CREATE TABLE auth.groups (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT groups_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT groups_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT groups_name_valid CHECK (length(name) BETWEEN 1 AND 200)
);
CREATE UNIQUE INDEX groups_name ON auth.groups (tenant_id, lower(name));
COMMENT ON TABLE auth.groups IS 'Users of a tenant under one name.';

CREATE TABLE auth.group_members (
    tenant_id integer NOT NULL,
    group_id uuid NOT NULL,
    user_id uuid NOT NULL,
    added_at timestamptz NOT NULL,
    CONSTRAINT group_members_pkey PRIMARY KEY (tenant_id, group_id, user_id),
    CONSTRAINT group_members_group_fkey FOREIGN KEY (tenant_id, group_id)
        REFERENCES auth.groups (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT group_members_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX group_members_user ON auth.group_members (tenant_id, user_id, group_id);
COMMENT ON TABLE auth.group_members IS 'Who is in which group; access tokens name them.';

GRANT SELECT, INSERT, DELETE, UPDATE (name) ON auth.groups TO docuchat_auth;
GRANT SELECT, INSERT, DELETE ON auth.group_members TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.groups", app_roles=_APP))
    op.execute(tenant_policy_ddl("auth.group_members", app_roles=_APP))


downgrade = forward_only
