-- name: put_invitation(tenant_id, invitation_id, email, role, token_hash, invited_by, moment, expires_at)^
-- A new invitation, which takes the place of an older one of the same address and keeps its id.
INSERT INTO auth.invitations AS held (tenant_id, id, email, role, token_hash, invited_by, created_at, expires_at)
VALUES (:tenant_id, :invitation_id, :email, :role, :token_hash, :invited_by, :moment, :expires_at)
ON CONFLICT ON CONSTRAINT invitations_email_key DO UPDATE
SET role = excluded.role, token_hash = excluded.token_hash, invited_by = excluded.invited_by,
    created_at = excluded.created_at, expires_at = excluded.expires_at
RETURNING tenant_id, id, email, role, invited_by, created_at, expires_at;

-- name: renew_invitation(tenant_id, invitation_id, token_hash, invited_by, moment, expires_at)^
-- Another token in place of the older one; no row when the invitation was accepted or revoked meanwhile.
UPDATE auth.invitations
SET token_hash = :token_hash, invited_by = :invited_by, created_at = :moment, expires_at = :expires_at
WHERE tenant_id = :tenant_id AND id = :invitation_id
RETURNING tenant_id, id, email, role, invited_by, created_at, expires_at;

-- name: void_invitations(tenant_id, invited_by, all_roles)$
-- Takes back what somebody offered who may not offer it any more: all, or what only owners may.
WITH voided AS (
    DELETE FROM auth.invitations
    WHERE tenant_id = :tenant_id AND invited_by = :invited_by AND (:all_roles::boolean OR role = 'owner')
    RETURNING 1
)
SELECT count(*) FROM voided;

-- name: delete_invitations_of(tenant_id, email)$
-- Forgets what was offered to an address.
WITH deleted AS (
    DELETE FROM auth.invitations WHERE tenant_id = :tenant_id AND email = :email RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: find_invitation(tenant_id, invitation_id)^
-- An invitation by its id.
SELECT tenant_id, id, email, role, invited_by, created_at, expires_at
FROM auth.invitations
WHERE tenant_id = :tenant_id AND id = :invitation_id;

-- name: find_live_invitation(tenant_id, token_hash, moment)^
-- An invitation that can be accepted.
SELECT tenant_id, id, email, role, invited_by, created_at, expires_at
FROM auth.invitations
WHERE tenant_id = :tenant_id AND token_hash = :token_hash AND expires_at > :moment;

-- name: list_invitations_after(tenant_id, after, max_rows)
-- A tenant's invitations by id, those that have expired too.
SELECT tenant_id, id, email, role, invited_by, created_at, expires_at
FROM auth.invitations
WHERE tenant_id = :tenant_id AND (:after::uuid IS NULL OR id > :after::uuid)
ORDER BY id
LIMIT :max_rows;

-- name: take_invitation(tenant_id, token_hash, moment)^
-- Spends an invitation, once.
DELETE FROM auth.invitations
WHERE tenant_id = :tenant_id AND token_hash = :token_hash AND expires_at > :moment
RETURNING tenant_id, id, email, role, invited_by, created_at, expires_at;

-- name: delete_expired_invitations(before)$
-- Forgets invitations of any tenant that ended long ago.
WITH deleted AS (
    DELETE FROM auth.invitations WHERE expires_at < :before RETURNING 1
)
SELECT count(*) FROM deleted;

-- name: delete_invitation(tenant_id, invitation_id)$
-- Takes an invitation back.
DELETE FROM auth.invitations
WHERE tenant_id = :tenant_id AND id = :invitation_id
RETURNING true;
