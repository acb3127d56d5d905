from __future__ import annotations

from datetime import timedelta
from typing import Any

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
