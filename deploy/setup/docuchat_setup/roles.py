"""Database roles: one owner that migrates, and two weak logins a service."""

from collections.abc import Mapping

import asyncpg

OWNER = "docuchat_owner"
SERVICES = ("auth", "gateway", "ingest", "chat", "usage")
SCHEMAS = ("auth", "knowledge", "chat", "usage")
EXTENSIONS = ("vector",)

SESSION_SETTINGS: Mapping[str, str] = {
    # a transaction waits for nobody: whoever leaves one open has died or forgotten it, and holds its locks
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": "5s",
    # a host that vanishes says nothing: without these its session, and its locks, stay for two hours
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",
    "client_connection_check_interval": "5s",
}
"""What holds in every session of every role, whoever opens it."""


def role_names() -> tuple[str, ...]:
    """Every login role: the owner, then `docuchat_<service>` and `docuchat_<service>_system`."""
    return (OWNER, *(name for service in SERVICES for name in (app_role(service), system_role(service))))


def app_role(service: str) -> str:
    """The weak login with which `service` works inside one tenant."""
    return f"docuchat_{service}"


def system_role(service: str) -> str:
    """The login with which `service` relays events and sweeps, across tenants, on the few tables granted to it."""
    return f"docuchat_{service}_system"


async def ensure_roles(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Create or update the roles, extensions and schemas; idempotent.

    `passwords` has one entry for every name of `role_names()`. Needs an administrator (CREATEROLE and CREATE on the
    database; for a managed server that is its admin user).
    """
    connection = await asyncpg.connect(admin_url)
    try:
        for name in role_names():
            # format() quotes identifier and literal: DDL takes no parameters
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name):
                await connection.execute(
                    await connection.fetchval("SELECT format('CREATE ROLE %I LOGIN NOINHERIT', $1::text)", name)
                )
            await connection.execute(
                await connection.fetchval(
                    "SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD %L',"
                    " $1::text, $2::text)",
                    name,
                    passwords[name],
                )
                if await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
                else await connection.fetchval(
                    "SELECT format('ALTER ROLE %I WITH LOGIN PASSWORD %L', $1::text, $2::text)", name, passwords[name]
                )
            )
            for setting, value in SESSION_SETTINGS.items():
                await connection.execute(
                    await connection.fetchval(
                        "SELECT format('ALTER ROLE %I SET %I TO %L', $1::text, $2::text, $3::text)",
                        name,
                        setting,
                        value,
                    )
                )
        await grant_database(connection)
    finally:
        await connection.close()


async def grant_database(connection: asyncpg.Connection) -> None:
    """Make extensions and the owner's schemas in the connection's database; needs the roles."""
    for extension in EXTENSIONS:
        await connection.execute(
            await connection.fetchval("SELECT format('CREATE EXTENSION IF NOT EXISTS %I', $1::text)", extension)
        )
    is_superuser = await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if not is_superuser:  # handing a schema to another role takes membership in it
        await connection.execute(
            await connection.fetchval("SELECT format('GRANT %I TO current_user', $1::text)", OWNER)
        )
    await connection.execute(
        await connection.fetchval(
            "SELECT format('GRANT CREATE, CONNECT ON DATABASE %I TO %I', current_database(), $1::text)", OWNER
        )
    )
    await connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for schema in SCHEMAS:
        await connection.execute(
            await connection.fetchval(
                "SELECT format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I', $1::text, $2::text)", schema, OWNER
            )
        )
