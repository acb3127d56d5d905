"""One migrated template database for the session, and a clone of it for each test."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from docuchat_common.db import Database, ddl
from docuchat_knowledge.vectors import register_vector
from docuchat_setup import roles
from docuchat_setup.migrations import migrate
from docuchat_setup.roles import OWNER, app_role, ensure_roles, role_names, system_role
from docuchat_setup.schemas import migration_files
from docuchat_testkit import event_watch
from docuchat_testkit.event_watch import check_events, watch_events
from docuchat_testkit.identity import SERVICE_PASSWORD

T = TypeVar("T")

ROLE_PASSWORD = SERVICE_PASSWORD  # roles belong to the server, which sessions may share
_LOCK_KEY = 0x7E57_0001


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from a synchronous fixture, on a loop of its own in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


def with_database(url: str, database: str, user: str | None = None, password: str = ROLE_PASSWORD) -> str:
    """The same server's address for another database and, when given, another role.

    A `?host=` folder of a Unix socket is kept.
    """
    parts = urlsplit(url)
    netloc = parts.netloc
    if user is not None:
        netloc = f"{quote(user)}:{quote(password)}@{netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


@dataclass(frozen=True, slots=True)
class ClonedDatabase:
    """A database of one test, with every schema migrated and nothing in it."""

    admin_url: str
    name: str

    @property
    def owner_url(self) -> str:
        """The address for the role that owns the tables and migrates."""
        return with_database(self.admin_url, self.name, OWNER)

    def url(self, service: str) -> str:
        """The address for the service's weak role; `service` is auth, gateway, ingest, chat or usage."""
        return with_database(self.admin_url, self.name, app_role(service))

    def system_url(self, service: str) -> str:
        """The address for the service's system role."""
        return with_database(self.admin_url, self.name, system_role(service))

    @asynccontextmanager
    async def open(self, service: str, *, max_size: int = 10) -> AsyncIterator[Database]:
        """The service's pools, as its own bootstrap opens them."""
        async with Database.open(
            self.url(service),
            self.system_url(service),
            application_name=f"test-{service}",
            max_size=max_size,
            init=register_vector if service in ("chat", "ingest") else None,
            # who waits here waits for a busy machine
            acquire_timeout=timedelta(seconds=60),
            command_timeout=timedelta(seconds=60),
        ) as database:
            yield database

    @asynccontextmanager
    async def connect(self, role: str | None = None) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A bare connection of `role`, or of the server's administrator, to look behind the product's back."""
        url = with_database(self.admin_url, self.name, role)
        connection = await asyncpg.connect(url)
        try:
            yield connection
        finally:
            await connection.close()


async def _execute(admin_url: str, template: str, *names: str) -> None:
    """Run a statement about databases; format() quotes the names, since DDL takes no parameters."""
    connection = await asyncpg.connect(admin_url)
    try:
        placeholders = ", ".join(f"${position}::text" for position in range(2, len(names) + 2))
        statement = await connection.fetchval("SELECT format($1::text, " + placeholders + ")", template, *names)
        await connection.execute(statement)
    finally:
        await connection.close()


def fingerprint(files: Iterable[Path]) -> str:
    """A digest of all that the template is made of: roles, what migrations share, their `files`, and our trigger."""
    digest = hashlib.sha256(b"".join(Path(str(made.__file__)).read_bytes() for made in (roles, ddl, event_watch)))
    for path in files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


async def build_template(admin_url: str) -> str:
    """The name of a database with roles and all migrations, made when the server has none for these migrations."""
    name = f"docuchat_template_{fingerprint(migration_files())}"
    lock = await asyncpg.connect(admin_url)
    try:
        await lock.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        if await lock.fetchval("SELECT datistemplate FROM pg_database WHERE datname = $1", name):
            return name
        # A half-made one of a session that died is not marked as a template.
        await _execute(admin_url, "DROP DATABASE IF EXISTS %I WITH (FORCE)", name)
        await _execute(admin_url, "CREATE DATABASE %I TEMPLATE template0 ENCODING 'UTF8'", name)
        await ensure_roles(with_database(admin_url, name), dict.fromkeys(role_names(), ROLE_PASSWORD))
        await migrate(with_database(admin_url, name, OWNER))
        await watch_events(with_database(admin_url, name))
        await _execute(admin_url, "ALTER DATABASE %I WITH IS_TEMPLATE true ALLOW_CONNECTIONS false", name)
        return name
    finally:
        await lock.close()


async def clone(admin_url: str, template: str) -> ClonedDatabase:
    """A new database from the template."""
    name = f"docuchat_test_{uuid.uuid4().hex[:12]}"
    await _execute(admin_url, "CREATE DATABASE %I TEMPLATE %I STRATEGY file_copy", name, template)
    return ClonedDatabase(admin_url, name)


async def drop(database: ClonedDatabase) -> None:
    """Remove the database, whoever is still connected, once the events that were committed to it are found right."""
    try:
        await check_events(with_database(database.admin_url, database.name))
    finally:
        await _drop(database)


async def _drop(database: ClonedDatabase) -> None:
    await _execute(database.admin_url, "DROP DATABASE IF EXISTS %I WITH (FORCE)", database.name)
