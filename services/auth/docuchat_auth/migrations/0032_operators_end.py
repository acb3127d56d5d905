"""Tokens end with what they were given for: an operator's credential, however it was revoked, and a secret of an API key."""

from alembic import op

from docuchat_common.db.ddl import forward_only

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

# forced row-level security binds the owner, too
_TELL = """
CREATE POLICY operators_ended ON auth.revisions FOR INSERT TO CURRENT_USER
    WITH CHECK (tenant_id = 0 AND kind = 'key' AND state = 'ended');

CREATE FUNCTION auth.end_operator_v1() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO auth.revisions (tenant_id, kind, subject, version, state, recorded_at, expires_at)
    VALUES (0, 'key', old.id::text, 0, 'ended', now(), now() + interval '1 day');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION auth.end_operator_v1 IS 'Tell that the tokens of a credential, which live 15 minutes, are refused.';
REVOKE ALL ON FUNCTION auth.end_operator_v1 FROM PUBLIC;

CREATE TRIGGER operators_revoked AFTER UPDATE OF revoked_at ON auth.operators
    FOR EACH ROW WHEN (old.revoked_at IS NULL AND new.revoked_at IS NOT NULL) EXECUTE FUNCTION auth.end_operator_v1();
CREATE TRIGGER operators_deleted AFTER DELETE ON auth.operators
    FOR EACH ROW WHEN (old.revoked_at IS NULL) EXECUTE FUNCTION auth.end_operator_v1();

-- a secret that is to end before its tokens gets another id, and tokens that name the older one are refused
GRANT UPDATE (id) ON auth.api_key_secrets TO docuchat_auth;
"""


def upgrade() -> None:
    """A policy, two triggers, and a right."""
    op.execute(_TELL)


downgrade = forward_only
