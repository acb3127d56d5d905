-- name: count_providers(tenant_id)$
-- How many providers a tenant has.
SELECT count(*)
FROM auth.identity_providers
WHERE tenant_id = :tenant_id;

-- name: add_provider(tenant_id, provider_id, name, issuer, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains, groups_claim, mappings, links_owners, moment)!
-- A new provider.
INSERT INTO auth.identity_providers (
    tenant_id, id, name, issuer, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains,
    groups_claim, mappings, links_owners, created_at
)
VALUES (
    :tenant_id, :provider_id, :name, :issuer, :client_id, :sealed_secret, :scopes::text[], :is_active, :join_enabled,
    :join_role, :join_domains::text[], :groups_claim, :mappings::text::jsonb, :links_owners, :moment
);

-- name: change_provider(tenant_id, provider_id, name, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains, groups_claim, mappings, links_owners)!
-- A provider as it is to be; its issuer stays.
UPDATE auth.identity_providers
SET name = :name, client_id = :client_id, sealed_secret = :sealed_secret, scopes = :scopes::text[],
    is_active = :is_active, join_enabled = :join_enabled, join_role = :join_role, join_domains = :join_domains::text[],
    groups_claim = :groups_claim, mappings = :mappings::text::jsonb, links_owners = :links_owners
WHERE tenant_id = :tenant_id AND id = :provider_id;

-- name: lock_provider(tenant_id, provider_id)$
-- Changes of a provider take turns.
SELECT true
FROM auth.identity_providers
WHERE tenant_id = :tenant_id AND id = :provider_id
FOR UPDATE;

-- name: find_provider(tenant_id, provider_id)^
-- A provider by its id.
SELECT tenant_id, id, name, issuer, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains,
       groups_claim, mappings, links_owners, created_at
FROM auth.identity_providers
WHERE tenant_id = :tenant_id AND id = :provider_id;

-- name: list_providers_after(tenant_id, after, max_rows)
-- A tenant's providers by id.
SELECT tenant_id, id, name, issuer, client_id, sealed_secret, scopes, is_active, join_enabled, join_role, join_domains,
       groups_claim, mappings, links_owners, created_at
FROM auth.identity_providers
WHERE tenant_id = :tenant_id AND (:after::uuid IS NULL OR id > :after::uuid)
ORDER BY id
LIMIT :max_rows;

-- name: delete_provider(tenant_id, provider_id)$
-- A provider with what it says of accounts; the accounts stay.
DELETE FROM auth.identity_providers
WHERE tenant_id = :tenant_id AND id = :provider_id
RETURNING true;
