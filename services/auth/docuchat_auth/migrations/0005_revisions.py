"""The role viewer, versions of users, and revisions: what access tokens that are out there do not know yet."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
ALTER TABLE auth.users DROP CONSTRAINT users_role_known;
ALTER TABLE auth.users ADD CONSTRAINT users_role_known
    CHECK (role IN ('owner', 'admin', 'member', 'viewer')) NOT VALID;
ALTER TABLE auth.users VALIDATE CONSTRAINT users_role_known;
ALTER TABLE auth.users ADD COLUMN version integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN auth.users.version IS 'Grows with each change of what the user may do.';

CREATE TABLE auth.revisions (
    tenant_id integer NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    version integer NOT NULL,
    state text NOT NULL,
    recorded_at timestamptz NOT NULL,
    expires_at timestamptz,
    recorded_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT revisions_pkey PRIMARY KEY (tenant_id, kind, subject),
    CONSTRAINT revisions_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT revisions_kind_known CHECK (kind IN ('user', 'session', 'key', 'tenant')),
    CONSTRAINT revisions_state_known CHECK (state IN ('active', 'changed', 'ended', 'suspended'))
);
CREATE INDEX revisions_recorded_in ON auth.revisions (recorded_in);
CREATE INDEX revisions_expires_at ON auth.revisions (expires_at);
COMMENT ON TABLE auth.revisions IS 'What changed since access tokens were signed; one row a user, session, key or tenant.';
COMMENT ON COLUMN auth.revisions.recorded_in IS 'The transaction: numbers of a sequence are not handed out in the order of commits.';
COMMENT ON COLUMN auth.revisions.expires_at IS 'When the last token that does not know has ended; null: not before the next change.';

GRANT UPDATE (role, is_active, version) ON auth.users TO docuchat_auth;
GRANT SELECT, INSERT, UPDATE ON auth.revisions TO docuchat_auth, docuchat_auth_system;
GRANT DELETE ON auth.revisions TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    op.execute(
        tenant_policy_ddl("auth.revisions", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",))
    )


downgrade = forward_only
