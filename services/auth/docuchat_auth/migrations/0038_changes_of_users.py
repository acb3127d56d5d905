"""When a user was last changed is kept."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

# A trigger, so that processes of the version before keep it, too. It is of the columns that make up an account: a sign-in
# and the end of access tokens, which come often, change none of them and do not call it.
_KEEP = """
ALTER TABLE auth.users ADD COLUMN updated_at timestamptz;
COMMENT ON COLUMN auth.users.updated_at IS
    'When an address, a name, the role or is_active was last changed; empty: not since this column is here.';

CREATE FUNCTION auth.stamp_user_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    new.updated_at := greatest(now(), old.created_at);
    RETURN new;
END $$;
COMMENT ON FUNCTION auth.stamp_user_v1 IS 'Note when a user was changed; never before the registration, whichever clock is behind.';
REVOKE ALL ON FUNCTION auth.stamp_user_v1 FROM PUBLIC;

CREATE TRIGGER users_changed BEFORE UPDATE OF email, claimed_email, username, name, role, is_active ON auth.users
    FOR EACH ROW WHEN ((old.email, old.claimed_email, old.username, old.name, old.role, old.is_active)
        IS DISTINCT FROM (new.email, new.claimed_email, new.username, new.name, new.role, new.is_active))
    EXECUTE FUNCTION auth.stamp_user_v1();
"""


def upgrade() -> None:
    """A column without a value for those who are there, and what fills it from now on."""
    op.execute(_KEEP)


downgrade = forward_only
