"""Passwords, user names, and addresses that somebody claims and has not proven."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE auth.users
    ALTER COLUMN email DROP NOT NULL,
    ADD COLUMN claimed_email text,
    ADD COLUMN username text,
    ADD COLUMN name text,
    ADD CONSTRAINT users_username_key UNIQUE (tenant_id, username),
    ADD CONSTRAINT users_is_called CHECK (num_nonnulls(email, claimed_email, username) > 0),
    ADD CONSTRAINT users_claimed_email_lower
        CHECK (claimed_email = lower(claimed_email) AND length(claimed_email) BETWEEN 3 AND 254),
    ADD CONSTRAINT users_username_valid CHECK (username ~ '^[a-z0-9][a-z0-9._-]{1,62}$'),
    ADD CONSTRAINT users_name_valid CHECK (length(name) BETWEEN 1 AND 200);
CREATE INDEX users_email ON auth.users (email);
CREATE INDEX users_username ON auth.users (username) WHERE username IS NOT NULL;
CREATE INDEX users_claimed_email ON auth.users (claimed_email) WHERE claimed_email IS NOT NULL;
COMMENT ON COLUMN auth.users.email IS 'Proven to be the user''s own, by a code or by who invited.';
COMMENT ON COLUMN auth.users.claimed_email IS 'Said at registration, not proven: nothing is decided by it.';
COMMENT ON COLUMN auth.users.username IS 'To sign in with, where there is no address.';

CREATE TABLE auth.passwords (
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    hash text NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT passwords_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT passwords_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT passwords_hash_known CHECK (hash LIKE '$argon2id$%' OR hash ~ '^\\$2[aby]\\$')
);
COMMENT ON TABLE auth.passwords IS 'Argon2id, or bcrypt that was brought along and is replaced at the next sign-in.';
"""

# Who signs in without naming a tenant is looked for in all of them, and an address becomes a user's own by being proven:
# functions that answer these questions, so that no role of the service may read all users or write addresses.
_FUNCTIONS = """
CREATE POLICY functions_read ON auth.users FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY functions_prove ON auth.users FOR UPDATE TO CURRENT_USER USING (true);
CREATE POLICY functions_read ON auth.refresh_tokens FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION auth.homes_of_email_v1(p_email text) RETURNS TABLE (tenant_id integer, is_proven boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT u.tenant_id, coalesce(bool_or(u.email = p_email), false)
    FROM auth.users AS u
    WHERE (u.email = p_email OR u.claimed_email = p_email) AND u.is_active
    GROUP BY u.tenant_id
    ORDER BY u.tenant_id
    LIMIT 20
$$;
COMMENT ON FUNCTION auth.homes_of_email_v1 IS 'The tenants of an address, as its owner''s or as a claim.';

CREATE FUNCTION auth.homes_of_username_v1(p_username text) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT u.tenant_id FROM auth.users AS u WHERE u.username = p_username AND u.is_active ORDER BY u.tenant_id LIMIT 20
$$;
COMMENT ON FUNCTION auth.homes_of_username_v1 IS 'The tenants of a user name.';

CREATE FUNCTION auth.home_of_refresh_token_v1(p_hash bytea) RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT t.tenant_id FROM auth.refresh_tokens AS t WHERE t.token_hash = p_hash
$$;
COMMENT ON FUNCTION auth.home_of_refresh_token_v1 IS 'The tenant in which a token was issued.';

CREATE FUNCTION auth.prove_email_v1(p_user_id uuid, p_email text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    UPDATE auth.users AS u
    SET email = u.claimed_email, claimed_email = NULL
    WHERE u.tenant_id = nullif(current_setting('app.tenant_id', true), '')::bigint
      AND u.id = p_user_id AND u.claimed_email = p_email
      AND NOT EXISTS (SELECT FROM auth.users AS owner WHERE owner.tenant_id = u.tenant_id AND owner.email = p_email)
    RETURNING true
$$;
COMMENT ON FUNCTION auth.prove_email_v1 IS 'Makes a claimed address the user''s own, unless it is another user''s of the tenant.';

REVOKE ALL ON FUNCTION auth.homes_of_email_v1, auth.homes_of_username_v1, auth.home_of_refresh_token_v1,
    auth.prove_email_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.homes_of_email_v1, auth.homes_of_username_v1, auth.home_of_refresh_token_v1
    TO docuchat_auth_system;
GRANT EXECUTE ON FUNCTION auth.prove_email_v1 TO docuchat_auth;
GRANT SELECT, INSERT, UPDATE (hash, changed_at) ON auth.passwords TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.passwords", app_roles=("docuchat_auth",)))
    op.execute(_FUNCTIONS)


downgrade = forward_only
