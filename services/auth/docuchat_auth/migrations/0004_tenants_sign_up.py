"""A tenant's UUID, and who may join it: `invite`, `domains` or `open`, in place of a flag."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# `signup_open` stays and is still written: processes of the release before read it while they are replaced
_STEPS = """
ALTER TABLE auth.tenants
    ALTER COLUMN signup_open SET DEFAULT false,
    ADD COLUMN customer_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN signup text NOT NULL DEFAULT 'invite',
    ADD COLUMN signup_domains text[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT tenants_customer_id_key UNIQUE (customer_id),
    ADD CONSTRAINT tenants_signup_known CHECK (signup IN ('invite', 'domains', 'open')),
    ADD CONSTRAINT tenants_signup_domains CHECK ((signup = 'domains') = (cardinality(signup_domains) > 0));
UPDATE auth.tenants SET signup = 'open' WHERE signup_open;

COMMENT ON COLUMN auth.tenants.customer_id IS 'The tenant to the outside, where a number or a slug does not fit.';
COMMENT ON COLUMN auth.tenants.signup IS 'Who may join without being invited.';
COMMENT ON COLUMN auth.tenants.signup_domains IS 'Domains of mail, proven to be the tenant''s, whose people may join.';
GRANT UPDATE (signup, signup_domains) ON auth.tenants TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_STEPS)


downgrade = forward_only
