"""Domains that tenants have proven, their identity providers, and who is who there."""

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_APP = ("docuchat_auth",)

_TABLES = """
CREATE TABLE auth.domains (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    domain text NOT NULL,
    token text NOT NULL,
    created_at timestamptz NOT NULL,
    verified_at timestamptz,
    CONSTRAINT domains_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT domains_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT domains_domain_key UNIQUE (tenant_id, domain),
    CONSTRAINT domains_domain_lower CHECK (domain = lower(domain) AND length(domain) BETWEEN 4 AND 253)
);
-- over all tenants: the database's own word against a domain of two
CREATE UNIQUE INDEX domains_proven_once ON auth.domains (domain) WHERE verified_at IS NOT NULL;
COMMENT ON TABLE auth.domains IS 'Domains of mail that a tenant has proven by a DNS record, or is about to.';

CREATE TABLE auth.identity_providers (
    tenant_id integer NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    issuer text NOT NULL,
    client_id text NOT NULL,
    sealed_secret bytea,
    scopes text[] NOT NULL,
    is_active boolean NOT NULL,
    join_enabled boolean NOT NULL,
    join_role text NOT NULL,
    join_domains text[] NOT NULL,
    groups_claim text NOT NULL,
    mappings jsonb NOT NULL,
    links_owners boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT identity_providers_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT identity_providers_tenant_fkey FOREIGN KEY (tenant_id) REFERENCES auth.tenants (id) ON DELETE CASCADE,
    CONSTRAINT identity_providers_name_valid CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT identity_providers_issuer_valid CHECK (length(issuer) BETWEEN 8 AND 500),
    -- a provider makes no owners
    CONSTRAINT identity_providers_join_role_known CHECK (join_role IN ('admin', 'member', 'viewer')),
    CONSTRAINT identity_providers_mappings_listed CHECK (jsonb_typeof(mappings) = 'array')
);
CREATE UNIQUE INDEX identity_providers_name ON auth.identity_providers (tenant_id, lower(name));
COMMENT ON TABLE auth.identity_providers IS 'OpenID Connect providers; the client''s secret is sealed under JWT_SECRET.';

CREATE TABLE auth.federated_identities (
    tenant_id integer NOT NULL,
    provider_id uuid NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    CONSTRAINT federated_identities_pkey PRIMARY KEY (tenant_id, provider_id, subject),
    -- an address that the company gives to somebody else does not give the account away
    CONSTRAINT federated_identities_user_key UNIQUE (tenant_id, provider_id, user_id),
    CONSTRAINT federated_identities_provider_fkey FOREIGN KEY (tenant_id, provider_id)
        REFERENCES auth.identity_providers (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT federated_identities_user_fkey FOREIGN KEY (tenant_id, user_id)
        REFERENCES auth.users (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT federated_identities_subject_length CHECK (length(subject) BETWEEN 1 AND 255)
);
CREATE INDEX federated_identities_user ON auth.federated_identities (tenant_id, user_id);
COMMENT ON TABLE auth.federated_identities IS 'Which user somebody at a provider is.';

GRANT SELECT, INSERT, DELETE, UPDATE (verified_at) ON auth.domains TO docuchat_auth;
GRANT SELECT, INSERT, DELETE,
    UPDATE (name, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains, groups_claim,
            mappings, links_owners)
    ON auth.identity_providers TO docuchat_auth;
GRANT SELECT, INSERT ON auth.federated_identities TO docuchat_auth;
"""


def upgrade() -> None:
    op.execute(_TABLES)
    for table in ("auth.domains", "auth.identity_providers", "auth.federated_identities"):
        op.execute(tenant_policy_ddl(table, app_roles=_APP))


downgrade = forward_only
