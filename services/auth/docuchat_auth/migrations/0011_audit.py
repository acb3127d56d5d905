"""The audit log: chains of entries that nobody may change."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE auth.audit_entries (
    chain integer NOT NULL,
    seq bigint NOT NULL,
    event_id uuid NOT NULL,
    at timestamptz NOT NULL,
    tenant_id integer NOT NULL,
    subject_type text NOT NULL,
    subject_id uuid,
    action text NOT NULL,
    object_type text NOT NULL,
    object_id text,
    result text NOT NULL,
    address text,
    request_id text,
    detail text,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_entries_pkey PRIMARY KEY (chain, seq),
    CONSTRAINT audit_entries_event_key UNIQUE (event_id),
    -- one entry has one successor: the database's own word against a chain that forks
    CONSTRAINT audit_entries_prev_key UNIQUE (chain, prev_hash),
    CONSTRAINT audit_entries_seq_positive CHECK (seq > 0),
    CONSTRAINT audit_entries_hash_length CHECK (octet_length(hash) = 32 AND octet_length(prev_hash) = 32),
    CONSTRAINT audit_entries_result_known CHECK (result IN ('done', 'refused', 'failed'))
);
COMMENT ON TABLE auth.audit_entries IS 'Who did what: append-only chains of hashes, one a tenant; 0 is the installation''s.';
CREATE INDEX audit_entries_actor ON auth.audit_entries (chain, subject_id, seq DESC);
CREATE INDEX audit_entries_object ON auth.audit_entries (chain, object_type, object_id, seq DESC);
"""

# no UPDATE and no DELETE for anybody but the owner of the schema
_GRANTS = """
GRANT SELECT ON auth.audit_entries TO docuchat_auth;
GRANT SELECT, INSERT ON auth.audit_entries TO docuchat_auth_system;
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(_TABLES)
    op.execute(
        tenant_policy_ddl(
            "auth.audit_entries", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",), column="chain"
        )
    )
    op.execute(_GRANTS)


downgrade = forward_only
