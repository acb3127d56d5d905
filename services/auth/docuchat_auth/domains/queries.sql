-- name: add_domain(tenant_id, domain_id, domain, token, moment)$
-- A domain that is yet to be proven; no row when the tenant has it already.
INSERT INTO auth.domains (tenant_id, id, domain, token, created_at)
VALUES (:tenant_id, :domain_id, :domain, :token, :moment)
ON CONFLICT ON CONSTRAINT domains_domain_key DO NOTHING
RETURNING true;

-- name: count_domains(tenant_id)$
-- How many domains a tenant has, proven or not.
SELECT count(*)
FROM auth.domains
WHERE tenant_id = :tenant_id;

-- name: find_domain(tenant_id, domain_id)^
-- A domain by its id.
SELECT tenant_id, id, domain, token, created_at, verified_at
FROM auth.domains
WHERE tenant_id = :tenant_id AND id = :domain_id;

-- name: find_domain_by_name(tenant_id, domain)^
-- A domain by its name.
SELECT tenant_id, id, domain, token, created_at, verified_at
FROM auth.domains
WHERE tenant_id = :tenant_id AND domain = :domain;

-- name: list_domains_after(tenant_id, after, max_rows)
-- A tenant's domains by id.
SELECT tenant_id, id, domain, token, created_at, verified_at
FROM auth.domains
WHERE tenant_id = :tenant_id AND (:after::uuid IS NULL OR id > :after::uuid)
ORDER BY id
LIMIT :max_rows;

-- name: list_proven(tenant_id, domains)
-- Which of these domains the tenant has proven.
SELECT domain
FROM auth.domains
WHERE tenant_id = :tenant_id AND domain = ANY(:domains::text[]) AND verified_at IS NOT NULL;

-- name: verify_domain(tenant_id, domain_id, moment)$
-- A domain is proven; no row when it was so before, or is no more.
UPDATE auth.domains
SET verified_at = :moment
WHERE tenant_id = :tenant_id AND id = :domain_id AND verified_at IS NULL
RETURNING true;

-- name: delete_domain(tenant_id, domain_id)$
-- A domain that is the tenant's no more.
DELETE FROM auth.domains
WHERE tenant_id = :tenant_id AND id = :domain_id
RETURNING true;
