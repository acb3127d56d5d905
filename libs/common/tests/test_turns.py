import asyncio

import pytest

from docuchat_common.db.turns import in_turn
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually

KEY = 77_000_001
ASKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle' AND query LIKE 'SELECT pg_try_advisory_lock%'
"""


async def test_a_job_waits_for_its_turn_and_a_failed_one_ends_it(database: ClonedDatabase):
    entered = asyncio.Event()

    async def wait_for_the_turn() -> None:
        async with database.connect() as connection, in_turn(connection, KEY):
            entered.set()

    async with database.connect() as connection, asyncio.TaskGroup() as jobs:
        with pytest.raises(ZeroDivisionError):
            async with in_turn(connection, KEY):
                jobs.create_task(wait_for_the_turn())

                async def asks() -> bool:
                    return bool(await connection.fetchval(ASKED))

                await eventually(asks)
                assert not entered.is_set()
                raise ZeroDivisionError
        await asyncio.wait_for(entered.wait(), timeout=30)
