-- name: find_user_by_email(tenant_id, email)^
-- A user by the address.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND email = :email;

-- name: find_user_by_id(tenant_id, user_id)^
-- A user by the id.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: list_users_after(tenant_id, after, email, user_id, role, is_active, max_rows)
-- A tenant's users by id, all or those that are wanted.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id
  AND (:after::uuid IS NULL OR id > :after::uuid)
  AND (:email::text IS NULL OR email = :email::text)
  AND (:user_id::uuid IS NULL OR id = :user_id::uuid)
  AND (:role::text IS NULL OR role = :role::text)
  AND (:is_active::boolean IS NULL OR is_active = :is_active::boolean)
ORDER BY id
LIMIT :max_rows;

-- name: lock_registration(tenant_id)!
-- Registrations and changes of who owns one tenant take turns: one of the first comers becomes the owner, the last stays.
SELECT pg_advisory_xact_lock(hashtextextended('auth.users', :tenant_id));

-- name: register_user(tenant_id, user_id, email, claimed_email, username, name, role, may_own, moment)^
-- A new user, owner when that may be and the tenant has nobody yet; no row when the address or the user name is known.
INSERT INTO auth.users (tenant_id, id, email, claimed_email, username, name, role, created_at)
SELECT :tenant_id::integer, :user_id::uuid, :email::text, :claimed_email::text, :username::text, :name::text,
       CASE WHEN NOT :may_own::boolean OR EXISTS (SELECT FROM auth.users WHERE tenant_id = :tenant_id::integer)
            THEN :role::text ELSE 'owner' END,
       :moment::timestamptz
ON CONFLICT DO NOTHING
RETURNING tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
          last_login_at;

-- name: find_user_by_username(tenant_id, username)^
-- A user by the user name.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id AND username = :username;

-- name: list_claimants(tenant_id, email)
-- Of those who registered with an address and have not proven it, the last two, and the first two: whoever comes later
-- takes nobody's place among all four.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM (
    SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
           last_login_at, row_number() OVER (ORDER BY created_at DESC, id DESC) AS from_last,
           row_number() OVER (ORDER BY created_at, id) AS from_first
    FROM auth.users
    WHERE tenant_id = :tenant_id AND claimed_email = :email
) AS claims
WHERE from_last <= 2 OR from_first <= 2
ORDER BY from_last;

-- name: list_homes(email, also_claimed)
-- Of any tenant: in which an address is at home; a few, as its owner's first.
SELECT tenant_id FROM auth.homes_of_email_v2(:email, :also_claimed) AS tenant_id;

-- name: list_homes_of_username(username)
-- Of any tenant: in which a user name is at home.
SELECT tenant_id FROM auth.homes_of_username_v1(:username) AS tenant_id;

-- name: list_unproven(before, max_rows)
-- Of any tenant: who registered with an address, never proved it and was not here since a moment, the oldest first.
SELECT tenant_id, user_id FROM auth.unproven_accounts_v1(:before, :max_rows);

-- name: prove_email(user_id, email)$
-- A claimed address becomes the user's own; nothing when it is another user's.
SELECT auth.prove_email_v1(:user_id, :email);

-- name: record_login(tenant_id, user_id, moment)!
-- When a user last proved to be who they are.
UPDATE auth.users
SET last_login_at = :moment
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: lock_user(tenant_id, user_id)$
-- Changes of one user take turns.
SELECT true
FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id
FOR NO KEY UPDATE;

-- name: rename_user(tenant_id, user_id, name)!
-- What a user is called.
UPDATE auth.users
SET name = :name
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: has_proven_manager(tenant_id)$
-- Whether mail reaches somebody who manages the tenant.
SELECT EXISTS (
    SELECT FROM auth.users
    WHERE tenant_id = :tenant_id AND role IN ('owner', 'admin') AND is_active AND email IS NOT NULL
);

-- name: count_owners(tenant_id)$
-- How many could still manage the tenant.
SELECT count(*)
FROM auth.users
WHERE tenant_id = :tenant_id AND role = 'owner' AND is_active;

-- name: list_owners_addresses(tenant_id)
-- The proven addresses of those who manage the tenant.
SELECT email FROM auth.users
WHERE tenant_id = :tenant_id AND role = 'owner' AND is_active AND email IS NOT NULL
ORDER BY id
LIMIT 20;

-- name: change_user(tenant_id, user_id, role, is_active)!
-- What a user may do.
UPDATE auth.users
SET role = :role, is_active = :is_active
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: delete_user(tenant_id, user_id)!
-- A user with all that hangs on it: sessions, memberships.
DELETE FROM auth.users
WHERE tenant_id = :tenant_id AND id = :user_id;

-- name: outdate_user(tenant_id, user_id)$
-- The next version of a user.
UPDATE auth.users
SET version = version + 1
WHERE tenant_id = :tenant_id AND id = :user_id
RETURNING version;

-- name: list_users_from(tenant_id, skip, max_rows)
-- A tenant's users by id, without the first of them.
SELECT tenant_id, id, email, claimed_email, username, name, role, is_active, version, created_at, updated_at,
       last_login_at
FROM auth.users
WHERE tenant_id = :tenant_id
ORDER BY id
OFFSET :skip
LIMIT :max_rows;

-- name: count_users(tenant_id)$
-- How many users a tenant has.
SELECT count(*)
FROM auth.users
WHERE tenant_id = :tenant_id;
