"""Second factors: codes of an authenticator app, and recovery codes; a tenant may demand one."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, tenant_policy_ddl

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_STEPS = """
ALTER TABLE auth.tenants ADD COLUMN require_second_factor boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN auth.tenants.require_second_factor
    IS 'Whether who has no second factor may do nothing but set one up.';
GRANT UPDATE (require_second_factor) ON auth.tenants TO docuchat_auth_system;

-- the default is for processes of the release before, while they are replaced
ALTER TABLE auth.refresh_tokens
    ADD COLUMN method text NOT NULL DEFAULT 'code',
    ADD CONSTRAINT refresh_tokens_method_known
        CHECK (method IN ('code', 'password', 'registration', 'invitation', 'passkey', 'oidc'));
COMMENT ON COLUMN auth.refresh_tokens.method IS 'How the sign-in was proven that began the family.';

CREATE TABLE auth.totp (
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    sealed_secret bytea,
    confirmed_at timestamptz,
    last_step bigint,
    pending_secret bytea,
    pending_at timestamptz,
    CONSTRAINT totp_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT totp_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT totp_confirmed_whole CHECK (num_nulls(sealed_secret, confirmed_at, last_step) IN (0, 3)),
    CONSTRAINT totp_pending_whole CHECK (num_nulls(pending_secret, pending_at) IN (0, 2))
);
COMMENT ON TABLE auth.totp IS 'Secrets of authenticator apps (RFC 6238), sealed under JWT_SECRET; one a user.';
COMMENT ON COLUMN auth.totp.last_step IS 'Of the last code that was taken: it and older ones are refused.';
COMMENT ON COLUMN auth.totp.pending_secret IS 'Shown to the user and not confirmed by a code of it yet.';

CREATE TABLE auth.recovery_codes (
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    code_hash bytea NOT NULL,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (tenant_id, user_id, code_hash),
    CONSTRAINT recovery_codes_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT recovery_codes_hash_length CHECK (octet_length(code_hash) = 32)
);
COMMENT ON TABLE auth.recovery_codes IS 'Those that are left, by the SHA-256 of 80 random bits and of whose they are.';

GRANT SELECT, INSERT, DELETE,
    UPDATE (sealed_secret, confirmed_at, last_step, pending_secret, pending_at) ON auth.totp TO docuchat_auth;
GRANT SELECT, INSERT, DELETE ON auth.recovery_codes TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_STEPS)
    for table in ("totp", "recovery_codes"):
        op.execute(tenant_policy_ddl(f"auth.{table}", app_roles=("docuchat_auth",)))
        op.execute(erasable_ddl("auth", table))


downgrade = forward_only
