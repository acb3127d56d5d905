"""The first credential of an operator: without one nobody could make the others."""

import asyncpg

from docuchat_common.contracts.operator_keys import new_operator_key


async def make_operator(owner_url: str, name: str) -> str:
    """Make a credential for `name` and return its text, which is stored nowhere; an older one of that name ends."""
    key = new_operator_key()
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute("SELECT auth.make_operator_v1($1, $2, $3)", key.id, name, key.secret_hash)
    finally:
        await connection.close()
    return key.text
