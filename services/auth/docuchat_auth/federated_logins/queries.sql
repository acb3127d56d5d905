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
