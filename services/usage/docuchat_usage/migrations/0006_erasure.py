"""A deleted tenant leaves nothing but what it used and what that cost."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, erasure_ddl, forward_only

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LEDGER = """
-- As the owner, since no role of the service changes the ledger; its policy shows it erased tenants alone.
CREATE FUNCTION usage.strip_ledger_v1(of_tenant bigint, row_limit bigint) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH named AS (
        SELECT l.id FROM usage.ledger l
        WHERE l.tenant_id = of_tenant
          AND num_nonnulls(l.user_id, l.key_id, l.visitor_id, l.chat_id, l.turn_id, l.document_id, l.hold_id) > 0
        LIMIT row_limit
    ), stripped AS (
        UPDATE usage.ledger l
        SET user_id = NULL, key_id = NULL, visitor_id = NULL, chat_id = NULL, turn_id = NULL, document_id = NULL, hold_id = NULL
        FROM named n WHERE l.id = n.id
        RETURNING 1
    )
    SELECT count(*) FROM stripped
$$;
COMMENT ON FUNCTION usage.strip_ledger_v1 IS 'Leave who used it out of entries of a tenant that is being erased; how many.';
REVOKE ALL ON FUNCTION usage.strip_ledger_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage.strip_ledger_v1 TO docuchat_usage_system;
"""


def upgrade() -> None:
    """The ledger is kept for LEDGER_RETENTION, without people, chats and documents."""
    op.execute(
        erasure_ddl(
            "usage",
            guarded=("subscriptions", "budgets", "holds", "ledger", "sums", "stored_documents", "idempotent_requests"),
            kept=("ledger",),
            app_roles=("docuchat_usage",),
            system_roles=("docuchat_usage_system",),
        )
    )
    op.execute(erasable_ddl("usage", "ledger"))
    op.execute(_LEDGER)


downgrade = forward_only
