"""Operators; sign-up is closed unless a tenant says otherwise."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE auth.tenants ALTER COLUMN signup_open SET DEFAULT false;

CREATE TABLE auth.operators (
    id uuid NOT NULL,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT operators_pkey PRIMARY KEY (id),
    CONSTRAINT operators_name_valid CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT operators_hash_length CHECK (octet_length(secret_hash) = 32)
);
CREATE UNIQUE INDEX operators_live_name ON auth.operators (name) WHERE revoked_at IS NULL;
COMMENT ON TABLE auth.operators IS 'Who runs the installation; belongs to no tenant. Made by docuchat_setup only.';

CREATE FUNCTION auth.make_operator_v1(p_id uuid, p_name text, p_secret_hash bytea) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE auth.operators SET revoked_at = now() WHERE name = p_name AND revoked_at IS NULL;
    INSERT INTO auth.operators (id, name, secret_hash) VALUES (p_id, p_name, p_secret_hash);
END
$$;
COMMENT ON FUNCTION auth.make_operator_v1 IS 'A new credential of an operator; ends the one that the name had.';
REVOKE ALL ON FUNCTION auth.make_operator_v1 FROM PUBLIC;

-- the service checks credentials and notes their use; it can make none
GRANT SELECT (id, name, secret_hash, revoked_at), UPDATE (last_used_at) ON auth.operators TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_TABLES)


downgrade = forward_only
