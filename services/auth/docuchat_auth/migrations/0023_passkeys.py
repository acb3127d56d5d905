"""Passkeys."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, tenant_policy_ddl

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE auth.passkeys (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    credential_id bytea NOT NULL,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    is_backed_up boolean NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT passkeys_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT passkeys_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    -- over all tenants: who shows a credential says nothing else
    CONSTRAINT passkeys_credential_key UNIQUE (credential_id),
    CONSTRAINT passkeys_name_valid CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT passkeys_credential_length CHECK (octet_length(credential_id) BETWEEN 1 AND 1023)
);
CREATE INDEX passkeys_user ON auth.passkeys (tenant_id, user_id);
COMMENT ON TABLE auth.passkeys IS 'Public keys of users'' authenticators (WebAuthn); of no use to who reads them.';
COMMENT ON COLUMN auth.passkeys.sign_count IS 'As the authenticator counts; zero from those that do not.';
"""

# Who signs in with a passkey names no tenant: a function that answers this question alone.
_FUNCTIONS = """
CREATE POLICY functions_read ON auth.passkeys FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION auth.home_of_passkey_v1(p_credential_id bytea) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT p.tenant_id FROM auth.passkeys AS p WHERE p.credential_id = p_credential_id
$$;
COMMENT ON FUNCTION auth.home_of_passkey_v1 IS 'The tenant of whose user a credential is.';

REVOKE ALL ON FUNCTION auth.home_of_passkey_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.home_of_passkey_v1 TO docuchat_auth_system;
GRANT SELECT, INSERT, DELETE, UPDATE (sign_count, is_backed_up, last_used_at) ON auth.passkeys TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.passkeys", app_roles=("docuchat_auth",)))
    op.execute(erasable_ddl("auth", "passkeys"))
    op.execute(_FUNCTIONS)


downgrade = forward_only
