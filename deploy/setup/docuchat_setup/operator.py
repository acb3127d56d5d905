"""The first credential of an operator: without one nobody could make the others."""

import asyncpg

from docuchat_common.audit import entry
from docuchat_common.contracts.operator_keys import new_operator_key
from docuchat_common.messaging.outbox import Outbox


async def make_operator(owner_url: str, name: str) -> str:
    """Make a credential for `name` and return its text, which is stored nowhere; an older one of that name ends."""
    key = new_operator_key()
    connection = await asyncpg.connect(owner_url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT auth.make_operator_v1($1, $2, $3)", key.id, name, key.secret_hash)
            outbox = Outbox(connection, "auth", "auth")
            outbox.add(entry(None, "operator.make", key.id))
            await outbox.flush()
    finally:
        await connection.close()
    return key.text
