"""Claims of an address hide no tenant in which it is proven."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_FUNCTIONS = """
CREATE FUNCTION auth.homes_of_email_v2(p_email text, p_also_claimed boolean) RETURNS SETOF integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    SELECT u.tenant_id
    FROM auth.users AS u
    WHERE (u.email = p_email OR (p_also_claimed AND u.claimed_email = p_email)) AND u.is_active
    GROUP BY u.tenant_id
    ORDER BY coalesce(bool_or(u.email = p_email), false) DESC, u.tenant_id
    LIMIT 20
$$;
COMMENT ON FUNCTION auth.homes_of_email_v2 IS 'The tenants of an address, as its owner''s first; and as a claim, if wanted.';
REVOKE ALL ON FUNCTION auth.homes_of_email_v2 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.homes_of_email_v2 TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_FUNCTIONS)


downgrade = forward_only
