"""Credentials of chatbots: their keys, and the pages whose visitors may ask them."""

from alembic import op

from docuchat_common.db.ddl import erasable_ddl, forward_only, tenant_policy_ddl

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_STEPS = """
CREATE TABLE auth.chatbots (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    origins text[] NOT NULL,
    version integer NOT NULL DEFAULT 0,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT chatbots_pkey PRIMARY KEY (tenant_id, id),
    -- over all tenants: a page names a chatbot and no tenant
    CONSTRAINT chatbots_id_key UNIQUE (id),
    CONSTRAINT chatbots_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT chatbots_origins_few CHECK (cardinality(origins) <= 50)
);
COMMENT ON TABLE auth.chatbots IS 'Which pages may show a chatbot; what it says is chat''s.';
COMMENT ON COLUMN auth.chatbots.version IS 'Grows when a page may show it no more: visitors'' tokens of before end.';
GRANT SELECT, INSERT, DELETE, UPDATE (origins, version) ON auth.chatbots TO docuchat_auth;
GRANT SELECT (tenant_id, id) ON auth.chatbots TO docuchat_auth_system;

-- the role of such a key stays 'viewer': a process of the version before takes it for a key whose scopes allow nothing
ALTER TABLE auth.api_keys
    ADD COLUMN chatbot_id uuid,
    ADD CONSTRAINT api_keys_chatbot_fkey FOREIGN KEY (tenant_id, chatbot_id)
        REFERENCES auth.chatbots (tenant_id, id) ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT api_keys_chatbots CHECK (chatbot_id IS NULL OR user_id IS NULL) NOT VALID;
ALTER TABLE auth.api_keys VALIDATE CONSTRAINT api_keys_chatbot_fkey;
ALTER TABLE auth.api_keys VALIDATE CONSTRAINT api_keys_chatbots;
CREATE INDEX api_keys_chatbot ON auth.api_keys (tenant_id, chatbot_id) WHERE chatbot_id IS NOT NULL;
COMMENT ON COLUMN auth.api_keys.chatbot_id IS 'The chatbot that whoever comes with the key may ask; empty: no chatbot''s key.';

ALTER TABLE auth.revisions
    DROP CONSTRAINT revisions_kind_known,
    ADD CONSTRAINT revisions_kind_known CHECK (kind IN ('user', 'session', 'key', 'tenant', 'chatbot')) NOT VALID;
ALTER TABLE auth.revisions VALIDATE CONSTRAINT revisions_kind_known;
"""


def upgrade() -> None:
    """A table, a column that what runs meanwhile leaves empty, and a kind of revisions."""
    op.execute(_STEPS)
    op.execute(tenant_policy_ddl("auth.chatbots", app_roles=("docuchat_auth",), system_roles=("docuchat_auth_system",)))
    op.execute(erasable_ddl("auth", "chatbots"))


downgrade = forward_only
