"""Every event that a test commits to an outbox, or puts on the broker by our publishers, fits its published schema.

A trigger, on test databases only, keeps the body of each row that a transaction leaves in an outbox, also when a relay
has taken it since; the fixtures look at them when the test ends.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
import jsonschema_rs

import docuchat_common.events

_SCHEMAS = Path(docuchat_common.events.__file__ or "").parent / "schemas"

_INSTALL = """
CREATE SCHEMA IF NOT EXISTS testkit;
CREATE TABLE IF NOT EXISTS testkit.published (id bigint GENERATED ALWAYS AS IDENTITY, place text, body bytea);
CREATE OR REPLACE FUNCTION testkit.keep_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testkit AS $$
BEGIN
    INSERT INTO testkit.published (place, body) VALUES (TG_TABLE_SCHEMA, NEW.body);
    RETURN NULL;
END $$;
DO $$
DECLARE outbox regclass;
BEGIN
    FOR outbox IN SELECT oid FROM pg_class WHERE relname = 'outbox' AND relkind = 'r' LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER testkit_keep_event AFTER INSERT ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION testkit.keep_event()', outbox);
    END LOOP;
END $$
"""


class UnfitEvent(AssertionError):
    """An event is not what its published schema says."""


async def watch_events(admin_url: str) -> None:
    """Keep what is committed to the outboxes of this database from now on; needs its administrator."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(_INSTALL)
    finally:
        await connection.close()


async def check_events(admin_url: str) -> int:
    """Check what was kept; how many there were."""
    connection = await asyncpg.connect(admin_url)
    try:
        bodies = [row["body"] for row in await connection.fetch("SELECT body FROM testkit.published ORDER BY id")]
    finally:
        await connection.close()
    for body in bodies:
        check_event(body)
    return len(bodies)


def check_event(body: bytes) -> None:
    """Raise UnfitEvent unless `body` fits the schema that is published for its type."""
    event = json.loads(body)
    try:
        _validator(str(event.get("type"))).validate(event)
    except jsonschema_rs.ValidationError as error:
        place = ".".join(map(str, error.instance_path)) or "the event"
        raise UnfitEvent(f"{event.get('type')} does not fit its published schema: {place}: {error.message}") from None


@cache
def _validator(event_type: str) -> Any:
    file = _SCHEMAS / f"{event_type}.json"
    if not file.exists():
        raise UnfitEvent(f"no schema is published for {event_type!r}; run `python -m docuchat_common.events`")
    return jsonschema_rs.validator_for(json.loads(file.read_text()), validate_formats=True)
