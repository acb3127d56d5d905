from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from docuchat_common.db.presence import Presence
from docuchat_testkit.eventually import eventually

HELD = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 77 AND objid = $1 AND granted"


async def test_a_process_is_seen_to_live_again_after_its_session_was_cut_and_to_be_gone_when_it_is(
    database: Any,
) -> None:
    async with database.connect() as admin:
        url = database.url("chat")
        async with Presence.open(url, 77, check_every=timedelta(milliseconds=20)) as presence:
            first = await admin.fetchval(HELD, presence.process_id)
            await admin.execute("SELECT pg_terminate_backend($1)", first)

            async def again() -> bool:
                return await admin.fetchval(HELD, presence.process_id) not in {None, first}

            await eventually(again)
        assert await admin.fetchval(HELD, presence.process_id) is None


async def test_a_lock_in_another_database_of_the_server_is_no_sign_of_life(database: Any) -> None:
    lives = "SELECT $1::bigint <@ chat.living_v1(77, interval '0')"
    other = await asyncpg.connect(database.admin_url)
    try:
        async with database.connect() as admin, Presence.open(database.url("chat"), 77) as presence:
            foreign = presence.process_id ^ 1
            await other.execute("SELECT pg_advisory_lock(77, $1)", foreign)
            assert await other.fetchval("SELECT current_database()") != database.name
            assert await admin.fetchval(lives, presence.process_id)
            assert not await admin.fetchval(lives, foreign)
    finally:
        await other.close()
