"""Alembic, one environment for all schemas: plain SQL steps, a version table in each schema, run as the owner.

Run by a one-shot job, never at a service's start. Several jobs at once are safe: they take turns.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import create_async_engine

from docuchat_common.db.turns import in_turn
from docuchat_setup.schemas import migration_folders

_LOCK_KEY = 0x0D0C_C4A7


def latest_revision(versions: Path) -> str | None:
    """The head revision found in the folder `versions`."""
    return _scripts(versions).get_current_head()


async def migrate(owner_url: str, say: Callable[[str], None] = lambda _: None) -> None:
    """Bring every schema to its newest revision; `say` is told about each that changed."""
    for schema, folder in migration_folders().items():
        if await run_migrations(owner_url, schema, folder):
            say(f"migrated schema {schema}")


async def run_migrations(owner_url: str, schema: str, versions: Path) -> bool:
    """Bring `schema` to the newest revision in the folder `versions`; True when something was applied.

    Statements wait at most 5 s for a lock, so that a migration never queues the whole product behind itself.
    """
    if await _current_revision(owner_url, schema) == latest_revision(versions):
        return False
    engine = create_async_engine(
        owner_url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=sqlalchemy.NullPool
    )
    event.listen(engine.sync_engine, "do_execute", _execute_script)
    try:
        async with engine.connect() as connection:
            session: Any = (await connection.get_raw_connection()).driver_connection
            async with in_turn(session, _LOCK_KEY):
                try:
                    await connection.execute(text("SET lock_timeout = '5s'"))
                    await connection.commit()
                    await connection.run_sync(_upgrade, schema, versions)
                    await connection.commit()
                finally:
                    await connection.rollback()
    finally:
        await engine.dispose()
    return True


async def _current_revision(owner_url: str, schema: str) -> str | None:
    connection = await asyncpg.connect(owner_url)
    try:
        if await connection.fetchval("SELECT to_regclass($1)", f"{schema}.alembic_version") is None:
            return None
        query = await connection.fetchval(
            "SELECT format('SELECT version_num FROM %I.alembic_version', $1::text)", schema
        )
        revision: str | None = await connection.fetchval(query)
        return revision
    finally:
        await connection.close()


def _scripts(versions: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(versions))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions))
    return ScriptDirectory.from_config(config)


def _execute_script(cursor: Any, statement: str, parameters: Any, _: Any) -> bool:
    """Run texts of several statements, which the driver cannot prepare, by the simple protocol; others as usual."""
    if parameters or ";" not in statement.strip().removesuffix(";"):
        return False
    cursor.execute("SELECT 1")  # begins the transaction, as the driver's adapter does lazily
    cursor._adapt_connection.run_async(lambda connection: connection.execute(statement))  # noqa: SLF001 - no public way
    return True


def _upgrade(connection: Connection, schema: str, versions: Path) -> None:
    scripts = _scripts(versions)
    config = Config()

    def upgrade(revision: Any, _: MigrationContext) -> list[Any]:
        return list(scripts._upgrade_revs("heads", revision))  # noqa: SLF001 - alembic's own commands do the same

    with EnvironmentContext(config, scripts, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table_schema=schema, transaction_per_migration=True)
        with environment.begin_transaction():
            environment.run_migrations()
