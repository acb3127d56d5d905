"""SQL that every schema's migrations share. The texts are frozen once released: a change is a new function."""

import re
from typing import NoReturn

from docuchat_common.errors import TenantGone

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


def _checked(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a plain identifier: {name!r}")
    return name


def forward_only() -> NoReturn:
    """The `downgrade` of every migration."""
    raise NotImplementedError("migrations only go forward: write the next one; the way back is a back-up")


def tenant_policy_ddl(
    table: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...] = (), column: str = "tenant_id"
) -> str:
    """Force row-level security on `table` (schema-qualified).

    An application role sees the rows of the tenant set in `app.tenant_id`, none when nothing is set; a system role sees
    all rows. Grants are separate.
    """
    table, column = _checked(table), _checked(column)
    statements = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        (
            f"CREATE POLICY tenant_isolation ON {table} TO {', '.join(map(_checked, app_roles))} "
            f"USING ({column} = nullif(current_setting('app.tenant_id', true), '')::bigint) "
            f"WITH CHECK ({column} = nullif(current_setting('app.tenant_id', true), '')::bigint)"
        ),
    ]
    if system_roles:
        statements.append(
            f"CREATE POLICY system_access ON {table} TO {', '.join(map(_checked, system_roles))} "
            "USING (true) WITH CHECK (true)"
        )
    return ";\n".join(statements)


def outbox_ddl(schema: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """The outbox of `schema`: application roles may add their tenant's events, system roles relay and delete."""
    schema = _checked(schema)
    everyone = ", ".join(map(_checked, (*app_roles, *system_roles)))
    return f"""
CREATE TABLE {schema}.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    type text NOT NULL,
    tenant_id bigint NOT NULL,
    body bytea NOT NULL,
    headers jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE {schema}.outbox IS 'Events committed with their cause; a row goes once the broker confirmed it.';
GRANT USAGE ON SCHEMA {schema} TO {everyone};
GRANT INSERT ON {schema}.outbox TO {everyone};
GRANT SELECT, DELETE, UPDATE ON {schema}.outbox TO {", ".join(map(_checked, system_roles))};
{tenant_policy_ddl(f"{schema}.outbox", app_roles=app_roles, system_roles=system_roles)};
"""


def inbox_ddl(schema: str, *, roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """The inbox of `schema`: which events a consumer has taken effect of. Holds no tenant's data."""
    schema = _checked(schema)
    everyone = ", ".join(map(_checked, (*roles, *system_roles)))
    return f"""
CREATE TABLE {schema}.inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_received_at ON {schema}.inbox (received_at);
COMMENT ON TABLE {schema}.inbox IS 'One row for each event whose effect is committed, so that a repeat has none.';
GRANT USAGE ON SCHEMA {schema} TO {everyone};
GRANT INSERT, SELECT ON {schema}.inbox TO {everyone};
GRANT DELETE ON {schema}.inbox TO {", ".join(map(_checked, system_roles))};
"""


def provider_calls_ddl(schema: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """The provider calls of `schema` (`docuchat_common.metering`).

    Application roles declare and close their tenant's; system roles see whose are open, and delete old ones.
    """
    schema = _checked(schema)
    app, system = ", ".join(map(_checked, app_roles)), ", ".join(map(_checked, system_roles))
    return f"""
CREATE TABLE {schema}.provider_calls (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    owner text NOT NULL,
    state text NOT NULL DEFAULT 'started'
        CONSTRAINT provider_calls_state CHECK (state IN ('started', 'settled', 'void')),
    kind text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    subjects jsonb NOT NULL DEFAULT '[]',
    expected_input_tokens bigint NOT NULL,
    expected_output_tokens bigint NOT NULL,
    hold_id uuid,
    chat_id uuid,
    turn_id uuid,
    document_id uuid,
    input_tokens bigint,
    output_tokens bigint,
    estimated boolean,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT provider_calls_tokens CHECK (
        expected_input_tokens >= 0 AND expected_output_tokens >= 0 AND input_tokens >= 0 AND output_tokens >= 0
    ),
    CONSTRAINT provider_calls_closed CHECK ((state = 'started') = (closed_at IS NULL)),
    CONSTRAINT provider_calls_settled CHECK (
        (state = 'settled') = (input_tokens IS NOT NULL AND output_tokens IS NOT NULL AND estimated IS NOT NULL)
    )
);
COMMENT ON TABLE {schema}.provider_calls IS 'A call of a provider is a row before it is made, and is settled once.';
CREATE INDEX provider_calls_started ON {schema}.provider_calls (created_at) WHERE state = 'started';
CREATE INDEX provider_calls_closed_at ON {schema}.provider_calls (closed_at) WHERE state <> 'started';
CREATE INDEX provider_calls_hold ON {schema}.provider_calls (hold_id) WHERE hold_id IS NOT NULL;
GRANT USAGE ON SCHEMA {schema} TO {app}, {system};
GRANT SELECT, INSERT, UPDATE ON {schema}.provider_calls TO {app};
GRANT SELECT (id, tenant_id, owner, state, created_at, closed_at), DELETE ON {schema}.provider_calls TO {system};
{tenant_policy_ddl(f"{schema}.provider_calls", app_roles=app_roles, system_roles=system_roles)};
"""


def booked_calls_ddl(schema: str, *, system_roles: tuple[str, ...]) -> str:
    """What `provider_calls` of `schema` need to be compared with the ledger."""
    schema, system = _checked(schema), ", ".join(map(_checked, system_roles))
    return f"""
ALTER TABLE {schema}.provider_calls ADD COLUMN booked_at timestamptz, ADD COLUMN announced_again_at timestamptz;
COMMENT ON COLUMN {schema}.provider_calls.booked_at IS 'When the ledger was seen to have this call.';
CREATE INDEX provider_calls_unbooked ON {schema}.provider_calls (closed_at)
    WHERE state = 'settled' AND booked_at IS NULL;
GRANT SELECT (booked_at, announced_again_at), UPDATE (booked_at) ON {schema}.provider_calls TO {system};
"""


def idempotent_requests_ddl(schema: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """The idempotency keys of `schema` (`docuchat_common.idempotency`); system roles delete old ones."""
    schema = _checked(schema)
    app, system = ", ".join(map(_checked, app_roles)), ", ".join(map(_checked, system_roles))
    return f"""
CREATE TABLE {schema}.idempotent_requests (
    tenant_id bigint NOT NULL,
    subject text NOT NULL,
    key_hash bytea NOT NULL,
    request_hash bytea,
    owner uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    reference uuid,
    status smallint,
    media_type text,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    CONSTRAINT idempotent_requests_key PRIMARY KEY (tenant_id, subject, key_hash),
    CONSTRAINT idempotent_requests_settled CHECK (
        (settled_at IS NOT NULL) = (status IS NOT NULL AND media_type IS NOT NULL AND headers IS NOT NULL
                                    AND body IS NOT NULL AND request_hash IS NOT NULL)
    )
);
COMMENT ON TABLE {schema}.idempotent_requests IS 'What an Idempotency-Key of a caller stands for, and was answered.';
CREATE INDEX idempotent_requests_created_at ON {schema}.idempotent_requests (created_at);
CREATE INDEX idempotent_requests_reference ON {schema}.idempotent_requests (reference) WHERE reference IS NOT NULL;
GRANT USAGE ON SCHEMA {schema} TO {app}, {system};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.idempotent_requests TO {app};
GRANT SELECT (created_at), DELETE ON {schema}.idempotent_requests TO {system};
{tenant_policy_ddl(f"{schema}.idempotent_requests", app_roles=app_roles, system_roles=system_roles)};
"""


def presence_ddl(schema: str, *, roles: tuple[str, ...]) -> str:
    """Who is alive (`docuchat_common.db.presence`), for queries of `schema` that take over what the dead left.

    `living_v1` gives the ids of the processes of a class whose session holds its lock, as one value, so that a query
    asks the server once however many rows it judges.
    """
    schema, reading = _checked(schema), ", ".join(map(_checked, roles))
    return f"""
CREATE FUNCTION {schema}.living_v1(of_class integer, restart_grace interval) RETURNS int8multirange
LANGUAGE sql STABLE SET search_path = pg_catalog
RETURN CASE
    -- locks do not survive a restart of the server: for a moment after one, all count as alive
    WHEN now() - pg_postmaster_start_time() < restart_grace THEN int8multirange(int8range(NULL, NULL))
    ELSE coalesce((SELECT range_agg(int8range(l.objid::bigint, l.objid::bigint, '[]')) FROM pg_locks l
                   WHERE l.locktype = 'advisory' AND l.classid = of_class::oid AND l.objsubid = 2 AND l.granted
                     AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())),
                  int8multirange())
END;
REVOKE ALL ON FUNCTION {schema}.living_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.living_v1 TO {reading};
"""  # noqa: S608 - identifiers are checked


def erasure_ddl(
    schema: str,
    *,
    guarded: tuple[str, ...],
    kept: tuple[str, ...] = (),
    app_roles: tuple[str, ...],
    system_roles: tuple[str, ...],
) -> str:
    """What `schema` needs so that a deleted tenant leaves nothing in it (`docuchat_common.erasure`).

    Nothing is added to the `guarded` tables for a tenant whose erasure has begun: what was under way ends first, what
    comes later fails. `erase_v1` empties every table that has a `tenant_id`, but for those that are `kept` and the
    outbox, from which events go by themselves. A table that refers to a guarded one needs no guard.
    """
    schema = _checked(schema)
    app, system = ", ".join(map(_checked, app_roles)), ", ".join(map(_checked, system_roles))
    spared = ", ".join(f"'{_checked(table)}'" for table in ("outbox", "erased_tenants", *kept))
    steps = f"""
CREATE TABLE {schema}.erased_tenants (
    tenant_id bigint PRIMARY KEY,
    begun_at timestamptz NOT NULL DEFAULT now(),
    leased_until timestamptz,
    finished_at timestamptz,
    erased jsonb NOT NULL DEFAULT '{{}}'
);
COMMENT ON TABLE {schema}.erased_tenants IS 'Tenants to which nothing may be added, and how much of each is gone.';
GRANT SELECT ON {schema}.erased_tenants TO {app}, {system};
GRANT INSERT, UPDATE (leased_until, finished_at, erased) ON {schema}.erased_tenants TO {system};
{tenant_policy_ddl(f"{schema}.erased_tenants", app_roles=app_roles, system_roles=system_roles)};
CREATE POLICY erasure ON {schema}.erased_tenants TO CURRENT_USER USING (true);

-- Who adds takes the tenant's lock with others who add, and looks for the tombstone; who erases takes it alone.
CREATE FUNCTION {schema}.refuse_erased_v1() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('{schema}.erased_tenants', t.tenant_id))
    FROM (SELECT DISTINCT a.tenant_id FROM added a) AS t;
    IF EXISTS (SELECT FROM added a JOIN {schema}.erased_tenants e ON e.tenant_id = a.tenant_id) THEN
        RAISE EXCEPTION USING ERRCODE = '{TenantGone.sqlstate}', MESSAGE = 'the tenant was deleted';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION {schema}.begin_erasure_v1(of_tenant bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('{schema}.erased_tenants', of_tenant)) THEN
        RETURN false;
    END IF;
    INSERT INTO {schema}.erased_tenants (tenant_id) VALUES (of_tenant) ON CONFLICT DO NOTHING;
    RETURN true;
END $$;
COMMENT ON FUNCTION {schema}.begin_erasure_v1 IS 'Let nothing be added for a tenant; false while something is.';

-- Deletes some rows of a tenant whose erasure has begun, those first that others do not refer to: how many of each
-- table, and whether any are left. As the owner, since no role of a service may delete everything.
CREATE FUNCTION {schema}.erase_v1(of_tenant bigint, row_limit bigint, OUT erased jsonb, OUT is_left boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    place regclass;
    gone bigint;
    room bigint := row_limit;
    more boolean;
BEGIN
    erased := '{{}}';
    is_left := false;
    IF NOT EXISTS (SELECT FROM {schema}.erased_tenants e WHERE e.tenant_id = of_tenant) THEN
        RETURN;
    END IF;
    FOR place IN
        WITH RECURSIVE of_tenants AS (
            SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ({spared})
        ), depth AS (
            SELECT t.oid, 0 AS below FROM of_tenants t
            UNION
            SELECT f.conrelid, d.below + 1
            FROM depth d JOIN pg_constraint f ON f.contype = 'f' AND f.confrelid = d.oid AND f.conrelid <> d.oid
            JOIN of_tenants t ON t.oid = f.conrelid
            WHERE d.below < 10
        )
        SELECT d.oid::regclass FROM depth d GROUP BY d.oid ORDER BY max(d.below) DESC, d.oid
    LOOP
        EXECUTE format('WITH gone AS (DELETE FROM %1$s WHERE ctid = ANY (ARRAY('
                       'SELECT ctid FROM %1$s WHERE tenant_id = $1 LIMIT $2)) RETURNING 1) '
                       'SELECT count(*) FROM gone', place)
        INTO gone USING of_tenant, room;
        IF gone > 0 THEN
            erased := erased || jsonb_build_object((SELECT c.relname FROM pg_class c WHERE c.oid = place), gone);
            room := room - gone;
        END IF;
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE tenant_id = $1)', place) INTO more USING of_tenant;
        is_left := is_left OR more;
        EXIT WHEN room <= 0;
    END LOOP;
    is_left := is_left OR room <= 0;
END $$;
REVOKE ALL ON FUNCTION {schema}.refuse_erased_v1, {schema}.begin_erasure_v1, {schema}.erase_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {schema}.begin_erasure_v1, {schema}.erase_v1 TO {system};
DO $$
DECLARE
    place regclass;
BEGIN
    FOR place IN
        SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ({spared})
    LOOP
        EXECUTE format('CREATE POLICY erasure ON %s TO CURRENT_USER USING '
                       '(tenant_id IN (SELECT e.tenant_id FROM {schema}.erased_tenants e))', place);
    END LOOP;
END $$;
"""  # noqa: S608 - identifiers are checked
    return steps + "".join(guard_ddl(schema, table) for table in guarded)


def guard_ddl(schema: str, table: str) -> str:
    """Refuse what is added to `table` for a tenant that is being erased; needs `erasure_ddl` of the schema."""
    schema, table = _checked(schema), _checked(table)
    return f"""
CREATE TRIGGER refuse_erased AFTER INSERT ON {schema}.{table} REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_erased_v1();
"""


def erasable_ddl(schema: str, table: str) -> str:
    """Let `erase_v1` see the rows of a `table` that came after `erasure_ddl`."""
    schema, table = _checked(schema), _checked(table)
    return f"""
CREATE POLICY erasure ON {schema}.{table} TO CURRENT_USER
    USING (tenant_id IN (SELECT e.tenant_id FROM {schema}.erased_tenants e));
"""  # noqa: S608 - identifiers are checked


def retention_ddl(schema: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """For how long tenants keep what `schema` holds (`docuchat_common.retention`); needs its `erasure_ddl`."""
    schema = _checked(schema)
    app, system = ", ".join(map(_checked, app_roles)), ", ".join(map(_checked, system_roles))
    return f"""
CREATE TABLE {schema}.retention_rules (
    tenant_id bigint PRIMARY KEY,
    version integer NOT NULL,
    keep_days integer CONSTRAINT retention_rules_keep_days CHECK (keep_days >= 1)
);
COMMENT ON TABLE {schema}.retention_rules IS 'What tenants have chosen, as auth tells it; null keeps for ever.';
GRANT SELECT, INSERT, UPDATE ON {schema}.retention_rules TO {app};
GRANT SELECT ON {schema}.retention_rules TO {system};
{tenant_policy_ddl(f"{schema}.retention_rules", app_roles=app_roles, system_roles=system_roles)};
{guard_ddl(schema, "retention_rules")}
{erasable_ddl(schema, "retention_rules")}
"""


def removed_users_ddl(schema: str, *, app_roles: tuple[str, ...], system_roles: tuple[str, ...]) -> str:
    """Who was removed from a tenant (`docuchat_common.removals`), so that what comes after them goes their way."""
    schema = _checked(schema)
    app, system = ", ".join(map(_checked, app_roles)), ", ".join(map(_checked, system_roles))
    return f"""
CREATE TABLE {schema}.removed_users (
    tenant_id bigint NOT NULL,
    user_id uuid NOT NULL,
    key_ids uuid[] NOT NULL,
    hand_over_to uuid,
    removed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT removed_users_key PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX removed_users_removed_at ON {schema}.removed_users (removed_at);
COMMENT ON TABLE {schema}.removed_users IS 'Who is gone: what was on its way then is found by these ids.';
GRANT SELECT, INSERT ON {schema}.removed_users TO {app};
GRANT SELECT, DELETE ON {schema}.removed_users TO {system};
{tenant_policy_ddl(f"{schema}.removed_users", app_roles=app_roles, system_roles=system_roles)};
{guard_ddl(schema, "removed_users")}
{erasable_ddl(schema, "removed_users")}
"""


def erased_users_ddl(schema: str, *, app_roles: tuple[str, ...]) -> str:
    """What `schema` needs to say how much of an erased user is gone; needs `removed_users_ddl`."""
    schema, app = _checked(schema), ", ".join(map(_checked, app_roles))
    return f"""
ALTER TABLE {schema}.removed_users
    ADD COLUMN is_erasure boolean NOT NULL DEFAULT false,
    ADD COLUMN counts jsonb NOT NULL DEFAULT '{{}}',
    ADD COLUMN told_at timestamptz;
COMMENT ON COLUMN {schema}.removed_users.is_erasure IS 'Whether it is to be told how much of the user is gone.';
COMMENT ON COLUMN {schema}.removed_users.counts IS 'How much that is, until it is told.';
GRANT UPDATE (counts, told_at) ON {schema}.removed_users TO {app};
"""
