"""What is left of a tenant in the database: every table of every schema is looked at, also those of tomorrow."""

from __future__ import annotations

from typing import Any, Final

import asyncpg

_TABLES: Final = """
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       CASE WHEN c.oid = 'auth.tenants'::regclass THEN 'id'
            WHEN c.oid = 'auth.audit_entries'::regclass THEN 'chain' ELSE 'tenant_id' END AS of_tenant
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('auth', 'knowledge', 'chat', 'usage')
  AND (c.oid = 'auth.tenants'::regclass
       OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'))
ORDER BY 1
"""


async def rows_of(connection: asyncpg.Connection[Any], tenant_id: int, schema: str = "") -> dict[str, int]:
    """How many rows each table has of a tenant, but for those that have none."""
    found = {}
    for table in await connection.fetch(_TABLES):
        if table["name"].startswith(schema):
            query = "SELECT count(*) FROM " + table["name"] + " WHERE " + table["of_tenant"] + " = $1"
            if count := await connection.fetchval(query, tenant_id):
                found[table["name"]] = count
    return found


async def places_of(connection: asyncpg.Connection[Any], *words: str) -> set[str]:
    """The tables in which one of these words stands in whatever column, also as bytes."""
    found = set()
    wanted = [form for word in words for form in (word, word.encode().hex())]
    for table in await connection.fetch(_TABLES):
        query = "SELECT EXISTS (SELECT FROM " + table["name"] + " t, unnest($1::text[]) w WHERE strpos(t::text, w) > 0)"
        if await connection.fetchval(query, wanted):
            found.add(table["name"])
    return found
