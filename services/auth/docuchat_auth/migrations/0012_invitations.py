"""Invitations."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE auth.invitations (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    token_hash bytea NOT NULL,
    invited_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT invitations_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT invitations_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT invitations_email_key UNIQUE (tenant_id, email),
    CONSTRAINT invitations_token_key UNIQUE (tenant_id, token_hash),
    CONSTRAINT invitations_email_lower CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    CONSTRAINT invitations_role_known CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    CONSTRAINT invitations_hash_length CHECK (octet_length(token_hash) = 32)
);
COMMENT ON TABLE auth.invitations IS 'Addresses that may become users, by the SHA-256 of what was mailed; one an address.';
GRANT SELECT, INSERT, DELETE, UPDATE (role, token_hash, invited_by, created_at, expires_at)
    ON auth.invitations TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.invitations", app_roles=("docuchat_auth",)))


downgrade = forward_only
