-- name: find_linked_user(tenant_id, provider_id, subject)$
-- The user whom somebody at a provider is.
SELECT user_id
FROM auth.federated_identities
WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND subject = :subject;

-- name: link(tenant_id, provider_id, subject, user_id, moment)$
-- Somebody at a provider is this user from now on; no row when the user is another one there.
INSERT INTO auth.federated_identities (tenant_id, provider_id, subject, user_id, linked_at)
VALUES (:tenant_id, :provider_id, :subject, :user_id, :moment)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: list_links(tenant_id, user_id)
-- Who a user is, and where; the oldest first.
SELECT provider_id, subject, linked_at
FROM auth.federated_identities
WHERE tenant_id = :tenant_id AND user_id = :user_id
ORDER BY linked_at, provider_id;

-- name: list_linked_users(tenant_id, provider_id)
-- The users who are somebody at a provider, by id: who ends sessions of several holds them in this order.
SELECT user_id
FROM auth.federated_identities
WHERE tenant_id = :tenant_id AND provider_id = :provider_id
ORDER BY user_id;

-- name: unlink(tenant_id, user_id, provider_id)
-- A user is nobody at a provider any more, or at none of them.
DELETE FROM auth.federated_identities
WHERE tenant_id = :tenant_id AND user_id = :user_id AND (:provider_id::uuid IS NULL OR provider_id = :provider_id::uuid)
RETURNING provider_id;
