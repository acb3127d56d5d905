-- What auth keeps of a tenant, or of one person: one JSON object a row, and no hash of a secret.

-- name: tenant
-- The tenant itself, as `GET /v1/tenant` shows it; of one person nothing.
SELECT jsonb_build_object('id', t.id, 'customer_id', t.customer_id, 'slug', t.slug, 'name', t.name, 'signup', t.signup,
    'domains', (SELECT coalesce(jsonb_agg(d ORDER BY d), '[]') FROM unnest(t.signup_domains) AS d),
    'state', CASE WHEN t.deletes_at IS NOT NULL THEN 'deleting' WHEN t.suspended_at IS NOT NULL THEN 'suspended' ELSE 'active' END,
    'deletes_at', t.deletes_at, 'retention', jsonb_build_object('chats_days', t.chats_days, 'documents_days', t.documents_days),
    'next_retention', CASE WHEN t.retention_changes_at IS NOT NULL THEN
        jsonb_build_object('chats_days', t.next_chats_days, 'documents_days', t.next_documents_days) END,
    'retention_changes_at', t.retention_changes_at, 'require_second_factor', t.require_second_factor,
    'created_at', t.created_at)::text AS row
FROM auth.tenants t WHERE t.id = :tenant_id AND :user_id::uuid IS NULL;

-- name: domains
-- Domains of mail, proven or not; of one person none.
SELECT jsonb_build_object('id', d.id, 'domain', d.domain, 'created_at', d.created_at, 'verified_at', d.verified_at)::text AS row
FROM auth.domains d WHERE d.tenant_id = :tenant_id AND :user_id::uuid IS NULL ORDER BY d.domain;

-- name: identity_providers
-- Providers of sign-in, without their secret; of one person none.
SELECT jsonb_build_object('id', p.id, 'name', p.name, 'issuer', p.issuer, 'client_id', p.client_id, 'scopes', p.scopes,
    'is_active', p.is_active, 'join_enabled', p.join_enabled, 'join_role', p.join_role, 'join_domains', p.join_domains,
    'groups_claim', p.groups_claim, 'mappings', p.mappings, 'links_owners', p.links_owners, 'created_at', p.created_at)::text AS row
FROM auth.identity_providers p WHERE p.tenant_id = :tenant_id AND :user_id::uuid IS NULL ORDER BY p.id;

-- name: identities
-- Who somebody is at a provider of sign-in.
SELECT jsonb_build_object('provider_id', f.provider_id, 'subject', f.subject, 'user_id', f.user_id, 'linked_at', f.linked_at)::text AS row
FROM auth.federated_identities f
WHERE f.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR f.user_id = :user_id::uuid)
ORDER BY f.provider_id, f.subject;

-- name: external_ids
-- What a company's directory calls users and groups; of one person what it calls the person.
SELECT jsonb_build_object('user_id', x.user_id, 'group_id', x.group_id, 'external_id', x.external_id)::text AS row
FROM auth.external_ids x
WHERE x.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR x.user_id = :user_id::uuid)
ORDER BY x.user_id, x.group_id;

-- name: second_factors
-- Since when somebody has an authenticator app, and how many recovery codes are left; no secret.
SELECT jsonb_build_object('user_id', u.id, 'app_since', t.confirmed_at, 'recovery_codes_left',
    (SELECT count(*) FROM auth.recovery_codes c WHERE c.tenant_id = u.tenant_id AND c.user_id = u.id))::text AS row
FROM auth.users u JOIN auth.totp t ON t.tenant_id = u.tenant_id AND t.user_id = u.id
WHERE u.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR u.id = :user_id::uuid)
ORDER BY u.id;

-- name: users
-- People; `claimed_email` is not proven.
SELECT jsonb_build_object('id', u.id, 'email', u.email, 'claimed_email', u.claimed_email, 'username', u.username, 'name', u.name,
    'role', u.role, 'is_active', u.is_active, 'created_at', u.created_at,
    'updated_at', coalesce(u.updated_at, u.created_at), 'last_login_at', u.last_login_at)::text AS row
FROM auth.users u
WHERE u.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR u.id = :user_id::uuid)
ORDER BY u.id;

-- name: passkeys
-- What passkeys are called, and when they were used.
SELECT jsonb_build_object('id', p.id, 'user_id', p.user_id, 'name', p.name, 'created_at', p.created_at,
    'last_used_at', p.last_used_at)::text AS row
FROM auth.passkeys p
WHERE p.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR p.user_id = :user_id::uuid)
ORDER BY p.id;

-- name: sessions
-- Sign-ins as their newest token tells, also those that have ended.
SELECT jsonb_build_object('id', s.family_id, 'user_id', s.user_id, 'last_used_at', s.created_at, 'expires_at', s.expires_at,
    'revoked_at', s.revoked_at, 'device', s.device, 'address', s.address)::text AS row
FROM (SELECT DISTINCT ON (r.family_id) r.family_id, r.user_id, r.created_at, r.expires_at, r.revoked_at, r.device, r.address
      FROM auth.refresh_tokens r
      WHERE r.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR r.user_id = :user_id::uuid)
      ORDER BY r.family_id, r.created_at DESC, r.id DESC) s;

-- name: groups
-- With their members; of one person the groups that the person is in.
SELECT jsonb_build_object('id', g.id, 'name', g.name, 'created_at', g.created_at,
    'members', (SELECT coalesce(jsonb_agg(m.user_id ORDER BY m.user_id), '[]') FROM auth.group_members m
                WHERE m.tenant_id = g.tenant_id AND m.group_id = g.id
                  AND (:user_id::uuid IS NULL OR m.user_id = :user_id::uuid)))::text AS row
FROM auth.groups g
WHERE g.tenant_id = :tenant_id
  AND (:user_id::uuid IS NULL
       OR g.id IN (SELECT m.group_id FROM auth.group_members m
                   WHERE m.tenant_id = :tenant_id AND m.user_id = :user_id::uuid))
ORDER BY g.id;

-- name: invitations
-- Those that wait; of one person those to the person's own address: the others name others, as who invited does.
SELECT jsonb_build_object('id', i.id, 'email', i.email, 'role', i.role,
    'invited_by', CASE WHEN :user_id::uuid IS NULL THEN i.invited_by END, 'created_at', i.created_at,
    'expires_at', i.expires_at)::text AS row
FROM auth.invitations i
WHERE i.tenant_id = :tenant_id
  AND (:user_id::uuid IS NULL
       OR i.email = (SELECT u.email FROM auth.users u WHERE u.tenant_id = :tenant_id AND u.id = :user_id::uuid))
ORDER BY i.id;

-- name: chatbots
-- Which pages may show a chatbot; of one person none. What a chatbot says is in chat's part.
SELECT jsonb_build_object('id', c.id, 'origins', c.origins, 'created_by', c.created_by, 'created_at', c.created_at)::text AS row
FROM auth.chatbots c WHERE c.tenant_id = :tenant_id AND :user_id::uuid IS NULL ORDER BY c.id;

-- name: api_keys
-- With when and from where each was last used.
SELECT jsonb_build_object('id', k.id, 'name', k.name, 'user_id', k.user_id, 'chatbot_id', k.chatbot_id, 'role', k.role, 'scopes', k.scopes,
    'addresses', k.addresses, 'created_by', k.created_by, 'created_at', k.created_at, 'expires_at', k.expires_at,
    'uses', (SELECT coalesce(jsonb_agg(jsonb_build_object('at', s.last_used_at, 'from', s.last_used_from) ORDER BY s.id), '[]')
             FROM auth.api_key_secrets s
             WHERE s.tenant_id = k.tenant_id AND s.key_id = k.id AND s.last_used_at IS NOT NULL))::text AS row
FROM auth.api_keys k
WHERE k.tenant_id = :tenant_id AND (:user_id::uuid IS NULL OR k.user_id = :user_id::uuid)
ORDER BY k.id;

-- name: audit
-- The chain; of one person what the person, or a key of the person's, did, and what was done to the person.
WITH own AS MATERIALIZED (
    SELECT :user_id::uuid AS id
    UNION ALL
    SELECT k.id FROM auth.api_keys k WHERE k.tenant_id = :tenant_id AND k.user_id = :user_id::uuid
)
SELECT jsonb_build_object('seq', e.seq, 'id', e.event_id, 'at', e.at, 'actor_type', e.subject_type, 'actor_id', e.subject_id,
    'action', e.action, 'object_type', e.object_type, 'object_id', e.object_id, 'result', e.result,
    'address', CASE WHEN :user_id::uuid IS NULL OR e.subject_id IN (SELECT o.id FROM own o) THEN e.address END,
    'request_id', e.request_id, 'detail', e.detail, 'hash', encode(e.hash, 'hex'))::text AS row
FROM auth.audit_entries e
WHERE e.chain = :tenant_id
  AND (:user_id::uuid IS NULL OR e.subject_id IN (SELECT o.id FROM own o)
       OR (e.object_type = 'user' AND e.object_id = :user_id::uuid::text))
ORDER BY e.seq;
