"""Tenants are deleted after a time of grace; a receipt says what is gone, and what is kept without people."""

from alembic import op

from docuchat_common.db.ddl import erasure_ddl, forward_only, tenant_policy_ddl

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_APP, _SYSTEM = ("docuchat_auth",), ("docuchat_auth_system",)

_TABLES = """
ALTER TABLE auth.tenants ADD COLUMN deletes_at timestamptz;
COMMENT ON COLUMN auth.tenants.deletes_at IS 'When it is deleted; until then it can be taken back. Null: it stays.';
GRANT UPDATE (deletes_at) ON auth.tenants TO docuchat_auth_system;

-- how a tenant stands is told to gateways for as long as a token of it lives, whatever is left of the tenant
ALTER TABLE auth.revisions
    DROP CONSTRAINT revisions_tenant_fkey,
    DROP CONSTRAINT revisions_state_known,
    ADD CONSTRAINT revisions_state_known
        CHECK (state IN ('active', 'changed', 'ended', 'suspended', 'deleting', 'deleted')) NOT VALID;
ALTER TABLE auth.revisions VALIDATE CONSTRAINT revisions_state_known;

CREATE TABLE auth.tenant_receipts (
    tenant_id integer NOT NULL,
    customer_id uuid NOT NULL,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz,
    parts jsonb NOT NULL DEFAULT '{}',
    mail_to text[] NOT NULL DEFAULT '{}',
    CONSTRAINT tenant_receipts_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_receipts_customer_id_key UNIQUE (customer_id)
);
COMMENT ON TABLE auth.tenant_receipts IS 'What each service erased of a deleted tenant, and what it keeps.';
COMMENT ON COLUMN auth.tenant_receipts.mail_to IS 'Its owners, until the receipt was mailed to them.';
GRANT SELECT, INSERT, UPDATE (finished_at, parts, mail_to) ON auth.tenant_receipts TO docuchat_auth_system;
"""

# The log is still nobody's to change: these functions are the only way, with their rule inside, and take the chain's turn as
# who books does.
_AUDIT = """
ALTER TABLE auth.audit_entries
    ADD COLUMN address_salt bytea,
    ADD COLUMN address_digest bytea,
    ADD CONSTRAINT audit_entries_address_length CHECK (octet_length(address_digest) = 32);
COMMENT ON COLUMN auth.audit_entries.address_digest IS 'SHA-256 of salt and address: what the chain holds in place of the address; null in older entries.';
CREATE POLICY keeping ON auth.audit_entries TO CURRENT_USER USING (true);

CREATE TABLE auth.audit_anchors (
    chain integer NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    removed_at timestamptz NOT NULL,
    CONSTRAINT audit_anchors_pkey PRIMARY KEY (chain)
);
COMMENT ON TABLE auth.audit_anchors IS 'The last entry that was taken from the beginning of a chain: what is left follows it.';
GRANT SELECT ON auth.audit_anchors TO docuchat_auth, docuchat_auth_system;

CREATE FUNCTION auth.cut_audit_v1(of_chain integer, up_to bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
DECLARE
    gone bigint;
BEGIN
    INSERT INTO auth.audit_anchors (chain, seq, hash, removed_at)
    SELECT e.chain, e.seq, e.hash, now() FROM auth.audit_entries e WHERE e.chain = of_chain AND e.seq = up_to
    ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, removed_at = excluded.removed_at;
    DELETE FROM auth.audit_entries e WHERE e.chain = of_chain AND e.seq <= up_to;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
COMMENT ON FUNCTION auth.cut_audit_v1 IS 'Take entries from the beginning of a chain, up to one; how many. For the two below.';

CREATE FUNCTION auth.forget_audit_v1(of_chain integer, older_than interval, row_limit integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    up_to bigint;
BEGIN
    IF older_than < interval '30 days' THEN
        RAISE EXCEPTION 'entries of the audit log are kept for 30 days at least';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('auth.audit_entries', of_chain));
    WITH oldest AS (
        SELECT e.seq, e.at FROM auth.audit_entries e WHERE e.chain = of_chain ORDER BY e.seq LIMIT row_limit
    )
    SELECT max(o.seq) INTO up_to FROM oldest o
    WHERE o.seq < coalesce((SELECT min(k.seq) FROM oldest k WHERE k.at >= now() - older_than), o.seq + 1)
      -- the last entry stays: what comes next follows it
      AND o.seq < (SELECT max(e.seq) FROM auth.audit_entries e WHERE e.chain = of_chain);
    RETURN CASE WHEN up_to IS NULL THEN 0 ELSE auth.cut_audit_v1(of_chain, up_to) END;
END $$;
COMMENT ON FUNCTION auth.forget_audit_v1 IS 'Forget the oldest entries of a chain, older than so long; how many.';

CREATE FUNCTION auth.strip_audit_v1(of_chain integer, row_limit integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    up_to bigint;
    stripped bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM auth.erased_tenants e WHERE e.tenant_id = of_chain) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('auth.audit_entries', of_chain));
    -- in entries of before this version the address is part of the hash: they go as a whole, and all precede the others
    SELECT max(e.seq) INTO up_to
    FROM (SELECT o.seq FROM auth.audit_entries o
          WHERE o.chain = of_chain AND o.address_digest IS NULL ORDER BY o.seq LIMIT row_limit) e;
    IF up_to IS NOT NULL THEN
        RETURN auth.cut_audit_v1(of_chain, up_to);
    END IF;
    UPDATE auth.audit_entries e SET address = NULL, address_salt = NULL
    WHERE e.chain = of_chain AND e.seq IN (
        SELECT o.seq FROM auth.audit_entries o WHERE o.chain = of_chain AND o.address_salt IS NOT NULL LIMIT row_limit);
    GET DIAGNOSTICS stripped = ROW_COUNT;
    RETURN stripped;
END $$;
COMMENT ON FUNCTION auth.strip_audit_v1 IS 'Leave the addresses out of the log of a tenant that is being erased; how many entries.';
REVOKE ALL ON FUNCTION auth.cut_audit_v1, auth.forget_audit_v1, auth.strip_audit_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.forget_audit_v1, auth.strip_audit_v1 TO docuchat_auth_system;
"""

_DROP = """
CREATE POLICY erasure ON auth.tenants TO CURRENT_USER USING (id IN (SELECT e.tenant_id FROM auth.erased_tenants e));
CREATE FUNCTION auth.drop_tenant_v1(of_tenant integer) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH gone AS (DELETE FROM auth.tenants t WHERE t.id = of_tenant RETURNING 1) SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION auth.drop_tenant_v1 IS 'Take away a tenant that is being erased.';
REVOKE ALL ON FUNCTION auth.drop_tenant_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.drop_tenant_v1 TO docuchat_auth_system;
"""


def upgrade() -> None:
    """All else refers to a tenant, or to what does."""
    op.execute(_TABLES)
    op.execute(tenant_policy_ddl("auth.tenant_receipts", app_roles=_APP, system_roles=_SYSTEM))
    op.execute(
        erasure_ddl(
            "auth",
            guarded=("idempotent_requests",),
            kept=("audit_entries", "revisions", "tenant_receipts"),
            app_roles=_APP,
            system_roles=_SYSTEM,
        )
    )
    op.execute(_AUDIT)
    op.execute(tenant_policy_ddl("auth.audit_anchors", app_roles=_APP, system_roles=_SYSTEM, column="chain"))
    op.execute("CREATE POLICY keeping ON auth.audit_anchors TO CURRENT_USER USING (true)")
    op.execute(_DROP)


downgrade = forward_only
