"""Providers of models: the platform's, and those that tenants bring."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, guard_ddl, tenant_policy_ddl

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE chat.providers (
    tenant_id bigint,
    id uuid PRIMARY KEY,
    name text NOT NULL,
    base_url text NOT NULL,
    sealed_key bytea,
    key_hint text,
    auth text NOT NULL CONSTRAINT providers_auth CHECK (auth IN ('bearer', 'api-key')),
    query jsonb NOT NULL DEFAULT '{}',
    models jsonb NOT NULL DEFAULT '[]',
    is_enabled boolean NOT NULL DEFAULT true,
    revision integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX providers_name ON chat.providers (coalesce(tenant_id, 0), name);
COMMENT ON COLUMN chat.providers.tenant_id IS 'Whose it is; null: the platform''s, which every tenant reads.';
COMMENT ON COLUMN chat.providers.sealed_key IS 'The key under a seal of INTERNAL_TOKEN, bound to owner and provider.';
COMMENT ON COLUMN chat.providers.key_hint IS 'The last characters of the key, by which people tell it from others.';
COMMENT ON COLUMN chat.providers.models IS 'What it serves: name, prices in USD per million tokens, context window.';
COMMENT ON COLUMN chat.providers.revision IS 'Grows with each edit: clients that were opened for an earlier one are not used again.';
"""

ACCESS = """
CREATE POLICY platform_is_read ON chat.providers FOR SELECT TO docuchat_chat
    USING (tenant_id IS NULL AND nullif(current_setting('app.tenant_id', true), '') IS NOT NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.providers TO docuchat_chat, docuchat_chat_system;
-- Those of the platform are made by the system role, which settles their keys.
GRANT SELECT, UPDATE ON chat.idempotent_requests TO docuchat_chat_system;
"""


def upgrade() -> None:
    """A table is added."""
    op.execute(TABLE)
    op.execute(
        tenant_policy_ddl("chat.providers", app_roles=("docuchat_chat",), system_roles=("docuchat_chat_system",))
    )
    op.execute(guard_ddl("chat", "providers"))
    op.execute(erasable_ddl("chat", "providers"))
    op.execute(ACCESS)


downgrade = forward_only
