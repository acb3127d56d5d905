"""One person is erased; a receipt says what is gone, and the log is kept without the person's addresses."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, guard_ddl, tenant_policy_ddl

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_TABLE = """
CREATE TABLE auth.user_receipts (
    tenant_id integer NOT NULL,
    user_id uuid NOT NULL,
    key_ids uuid[] NOT NULL,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz,
    erased jsonb NOT NULL,
    parts jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT user_receipts_pkey PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT user_receipts_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE
);
CREATE INDEX user_receipts_open ON auth.user_receipts (begun_at) WHERE finished_at IS NULL;
COMMENT ON TABLE auth.user_receipts IS 'What each service erased of a person, and what it keeps; by ids alone.';
COMMENT ON COLUMN auth.user_receipts.erased IS 'What went with the user here, until the log is stripped as well.';
GRANT SELECT, INSERT ON auth.user_receipts TO docuchat_auth;
GRANT SELECT, UPDATE (finished_at, parts) ON auth.user_receipts TO docuchat_auth_system;
"""

# Nobody may change the log: this function is the only way for one person, and only of one with a receipt.
_FUNCTION = """
CREATE POLICY functions_read ON auth.user_receipts FOR SELECT TO CURRENT_USER USING (true);

CREATE FUNCTION auth.strip_person_v1(of_chain integer, of_user uuid, row_limit integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    subjects uuid[];
    stripped bigint;
BEGIN
    SELECT r.user_id || r.key_ids INTO subjects
    FROM auth.user_receipts r WHERE r.tenant_id = of_chain AND r.user_id = of_user;
    PERFORM pg_advisory_xact_lock(hashtextextended('auth.audit_entries', of_chain));
    -- in entries of before addresses could be taken out the address is part of the hash
    UPDATE auth.audit_entries e SET address = NULL, address_salt = NULL
    WHERE e.chain = of_chain AND e.seq IN (
        SELECT o.seq FROM auth.audit_entries o
        WHERE o.chain = of_chain AND o.subject_id = ANY (subjects) AND o.address_salt IS NOT NULL LIMIT row_limit);
    GET DIAGNOSTICS stripped = ROW_COUNT;
    RETURN stripped;
END $$;
COMMENT ON FUNCTION auth.strip_person_v1 IS 'Leave the addresses of an erased user, and of the user''s keys, out of the log; how many entries.';
REVOKE ALL ON FUNCTION auth.strip_person_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.strip_person_v1 TO docuchat_auth_system;
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute(
        tenant_policy_ddl("auth.user_receipts", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",))
    )
    op.execute(guard_ddl("auth", "user_receipts"))
    op.execute(erasable_ddl("auth", "user_receipts"))
    op.execute(_FUNCTION)


downgrade = forward_only
