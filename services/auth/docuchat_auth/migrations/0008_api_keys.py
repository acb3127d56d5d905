"""API keys of users and of tenants, and their secrets."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE auth.api_keys (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    user_id uuid,
    role text,
    scopes text[] NOT NULL,
    addresses text[] NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_keys_id_key UNIQUE (id),
    CONSTRAINT api_keys_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_keys_owned CHECK ((user_id IS NULL) = (role IS NOT NULL)),
    CONSTRAINT api_keys_role_known CHECK (role IN ('owner', 'admin', 'member', 'viewer'))
);
CREATE INDEX api_keys_user ON auth.api_keys (tenant_id, user_id);
COMMENT ON TABLE auth.api_keys IS 'Credentials of programs: of a user, or with a role of their own of the tenant.';
COMMENT ON COLUMN auth.api_keys.scopes IS 'Actions; the key may do what stands here and its role may.';

CREATE TABLE auth.api_key_secrets (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    key_id uuid NOT NULL,
    prefix text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    ends_at timestamptz,
    last_used_at timestamptz,
    last_used_from text,
    CONSTRAINT api_key_secrets_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT api_key_secrets_key_fkey FOREIGN KEY (tenant_id, key_id)
        REFERENCES auth.api_keys (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT api_key_secrets_hash_length CHECK (octet_length(secret_hash) = 32)
);
CREATE INDEX api_key_secrets_key ON auth.api_key_secrets (tenant_id, key_id);
COMMENT ON TABLE auth.api_key_secrets IS 'What opens a key, by SHA-256: two while one takes the other''s place.';

GRANT SELECT, INSERT, DELETE ON auth.api_keys, auth.api_key_secrets TO docuchat_auth;
GRANT UPDATE (ends_at, last_used_at, last_used_from) ON auth.api_key_secrets TO docuchat_auth;
-- a key names no tenant: whose it is, is all that may be found out without one
GRANT SELECT (tenant_id, id) ON auth.api_keys TO docuchat_auth_system;
"""


def upgrade() -> None:
    """Add the tables."""
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.api_keys", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",)))
    op.execute(tenant_policy_ddl("auth.api_key_secrets", app_roles=("docuchat_auth",)))


downgrade = forward_only
