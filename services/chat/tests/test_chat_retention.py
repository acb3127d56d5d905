"""Chats are kept for as long as their tenant says, counted from their last message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.ids import TenantId
from docuchat_common.retention import Retention

TENANT = TenantId(1)


@dataclass
class Clock:
    moment: datetime

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def retention(world: Any) -> Retention:
    clock = Clock(datetime.now(UTC) + timedelta(days=10))
    return Retention(world.transactions, clock, world.conversations.delete_unused)


async def titles(world: Any, caller: Any) -> list[str]:
    return [chat.title for chat in await world.conversations.list_chats(caller, 10, None, None)]


async def test_what_is_older_goes_the_ordinary_way_and_nothing_else(world: Any, retention: Retention) -> None:
    mine, other = world.caller, world.new_caller(2)
    await world.ask("An old question?")
    await world.ask("A question that was continued?")
    await world.rows("UPDATE chat.messages SET created_at = now() + interval '9 days' WHERE content LIKE '%continued%'")
    world.caller = other
    await world.ask("A question of another tenant?")
    await retention.hear(TENANT, 1, 5)
    await retention.hear(TenantId(2), 1, 30)

    assert await retention.sweep() == 1
    assert await retention.sweep() == 0
    assert await titles(world, mine) == ["A question that was continued?"]
    assert await titles(world, other) == ["A question of another tenant?"]
    written = [event for event in await world.events() if isinstance(event, AuditRecorded)]
    assert [(event.subject_type, event.tenant_id) for event in written if event.action == "chat.delete"] == [
        ("retention", 1)
    ]
    assert await world.rows("SELECT FROM chat.messages WHERE content LIKE '%old question%'") == []


async def test_an_older_choice_that_comes_late_changes_nothing_and_none_keeps_for_ever(
    world: Any, retention: Retention
) -> None:
    await world.ask("A question?")
    await retention.hear(TENANT, 3, None)
    await retention.hear(TENANT, 2, 1)
    assert await retention.sweep() == 0
    for _ in range(2):
        await retention.hear(TENANT, 4, 1)
    assert await retention.sweep() == 1


async def test_a_chat_that_is_written_in_just_then_stays(world: Any) -> None:
    await world.ask("A question?")
    async with world.transactions(TENANT) as tx:
        ((owner, chat_id),) = await tx.chats.list_unused(TENANT, datetime.now(UTC) + timedelta(days=1), 10)
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with world.transactions(TENANT) as tx:
        assert await tx.chats.delete_unused(owner, chat_id, before) is None
    assert await titles(world, world.caller) == ["A question?"]
