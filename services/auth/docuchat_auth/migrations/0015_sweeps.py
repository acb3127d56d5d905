"""Expired invitations and accounts whose address was never proven can be found in all tenants, and nothing else of them."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_SWEEPS = """
CREATE POLICY system_access ON auth.invitations TO docuchat_auth_system USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, id, expires_at), DELETE ON auth.invitations TO docuchat_auth_system;

CREATE POLICY functions_read ON auth.api_keys FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY functions_read ON auth.federated_identities FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION auth.unproven_accounts_v1(p_before timestamptz, p_limit integer)
RETURNS TABLE (tenant_id integer, user_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT u.tenant_id, u.id
    FROM auth.users AS u
    WHERE u.claimed_email IS NOT NULL AND u.email IS NULL AND u.username IS NULL
      AND u.is_active AND u.role <> 'owner'
      AND greatest(u.created_at, u.last_login_at) < p_before
      AND NOT EXISTS (
          SELECT FROM auth.refresh_tokens AS t
          WHERE t.tenant_id = u.tenant_id AND t.user_id = u.id AND t.created_at >= p_before
      )
      AND NOT EXISTS (SELECT FROM auth.api_keys AS k WHERE k.tenant_id = u.tenant_id AND k.user_id = u.id)
      AND NOT EXISTS (SELECT FROM auth.federated_identities AS f WHERE f.tenant_id = u.tenant_id AND f.user_id = u.id)
    ORDER BY u.created_at
    LIMIT p_limit
$$;
COMMENT ON FUNCTION auth.unproven_accounts_v1 IS
    'Who registered with an address, never proved it and was not here since. No owners, no API keys'' holders, nobody whom a provider knows or who is shut out.';
REVOKE ALL ON FUNCTION auth.unproven_accounts_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.unproven_accounts_v1 TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_SWEEPS)


downgrade = forward_only
