"""A tenant's demand for a second factor is felt at once in sessions without one: their tokens are of an older version."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

# with the tenant's change, which the role of requests may not make, and in the order in which all others lock users
_FUNCTION = """
CREATE POLICY functions_read ON auth.totp FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION auth.outdate_one_factor_v1(of_tenant integer) RETURNS TABLE (user_id uuid, user_version integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM FROM auth.users u WHERE u.tenant_id = of_tenant ORDER BY u.id FOR NO KEY UPDATE;
    RETURN QUERY
    UPDATE auth.users u SET version = u.version + 1
    WHERE u.tenant_id = of_tenant AND u.is_active AND EXISTS (
        SELECT FROM auth.refresh_tokens r
        WHERE r.tenant_id = of_tenant AND r.user_id = u.id AND r.used_at IS NULL AND r.revoked_at IS NULL
          AND r.method NOT IN ('passkey', 'oidc') -- which are enough
          AND NOT (r.factor_shown AND (
              EXISTS (SELECT FROM auth.totp t
                      WHERE t.tenant_id = of_tenant AND t.user_id = u.id AND t.confirmed_at IS NOT NULL)
              OR EXISTS (SELECT FROM auth.passkeys p WHERE p.tenant_id = of_tenant AND p.user_id = u.id))))
    RETURNING u.id, u.version;
END $$;
COMMENT ON FUNCTION auth.outdate_one_factor_v1 IS 'The next version of each user of a tenant with a session in which no second factor was shown.';
REVOKE ALL ON FUNCTION auth.outdate_one_factor_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.outdate_one_factor_v1 TO docuchat_auth_system;
"""


def upgrade() -> None:
    """A function."""
    op.execute(_FUNCTION)


downgrade = forward_only
