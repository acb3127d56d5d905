"""Limits that the asker of a hold states: of chatbots, their visitors, and the addresses that these come from."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from docuchat_common.contracts.holds import (
    BudgetBusy,
    DemoLimitReached,
    HoldUnit,
    LimitUnit,
    StatedLimit,
    SubjectType,
)
from docuchat_common.errors import QuotaExceeded
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_usage.ledger.schemas import UsageReport
from docuchat_usage.quotas.domain import Hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase

MINUTE = timedelta(minutes=1)
ASKED = {HoldUnit.INPUT_TOKENS: 80, HoldUnit.OUTPUT_TOKENS: 20, HoldUnit.MESSAGES: 1}


def stated(*limits: tuple[SubjectType, LimitUnit, int | None]) -> tuple[StatedLimit, ...]:
    return tuple(StatedLimit(type=kind, unit=unit, amount=amount) for kind, unit, amount in limits)


def question(
    chatbot: UUID, visitor: UUID, address: str = "a", *, each: int | None = 10, all_of_them: int | None = 1000
) -> dict[str, Any]:
    """A visitor's question, as it is held."""
    return {
        "amounts": ASKED,
        "subjects": {
            SubjectType.CHATBOT: chatbot,
            SubjectType.VISITOR: visitor,
            SubjectType.ADDRESS: address,
            SubjectType.VISITORS: chatbot,
        },
        "limits": stated(
            (SubjectType.CHATBOT, LimitUnit.TOKENS, None),
            (SubjectType.CHATBOT, LimitUnit.COST, None),
            (SubjectType.CHATBOT, LimitUnit.MESSAGES, None),
            (SubjectType.VISITOR, LimitUnit.MESSAGES, each),
            (SubjectType.ADDRESS, LimitUnit.MESSAGES, each),
            (SubjectType.VISITORS, LimitUnit.MESSAGES, all_of_them),
        ),
    }


async def settle(world: World, hold: Hold, chatbot: UUID, visitor: UUID) -> None:
    await world.spend(60, hold_id=hold.id, user_id=None, chatbot_id=chatbot, visitor_id=visitor)


async def budgets(database: ClonedDatabase, tenant: int) -> dict[tuple[str, str], tuple[Any, ...]]:
    async with database.connect() as connection:
        rows = await connection.fetch(
            "SELECT subject_type, unit, amount_limit, used, held FROM usage.budgets"
            " WHERE tenant_id = $1 AND subject_type <> 'tenant'",
            tenant,
        )
    return {(row[0], row[1]): tuple(row)[2:] for row in rows}


class TestDemo:
    async def test_of_fifty_at_once_by_ten_visitors_behind_one_address_exactly_ten_are_held(
        self, open_world: Callable[..., AbstractAsyncContextManager[World]], database: ClonedDatabase
    ) -> None:
        async with open_world(max_size=20) as world:
            chatbot, visitors = uuid7(), [uuid7() for _ in range(10)]
            asked = [world.hold(**question(chatbot, visitors[number % 10])) for number in range(50)]
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            held = [outcome for outcome in outcomes if isinstance(outcome, Hold)]
            refused = [outcome for outcome in outcomes if isinstance(outcome, DemoLimitReached)]
            assert (len(held), len(refused)) == (10, 40)
            assert {refusal.extensions["layer"] for refusal in refused} == {"address"}
            await world.quotas.release(held[0].id)
            for hold in held[1:]:
                await settle(world, hold, chatbot, visitors[0])
            cleared = [world.hold(**question(chatbot, uuid7())) for _ in range(5)]
            assert sum(isinstance(one, Hold) for one in await asyncio.gather(*cleared, return_exceptions=True)) == 1
            assert (await budgets(database, world.tenant))["address", "messages"] == (10, 9, 1)

    async def test_a_message_that_was_answered_without_a_model_is_one_of_the_demo(
        self, world: World, database: ClonedDatabase
    ) -> None:
        chatbot, visitor = uuid7(), uuid7()
        for _ in range(10):
            hold = await world.hold(**question(chatbot, visitor))
            await world.quotas.settle(hold.id)
            await world.quotas.settle(hold.id)  # once
        with pytest.raises(DemoLimitReached):
            await world.hold(**question(chatbot, visitor))
        after = await budgets(database, world.tenant)
        assert {after[layer, "messages"][1:] for layer in ("visitor", "address", "visitors")} == {(10, 0)}
        assert after["chatbot", "tokens"][1:] == (0, 0)

    @pytest.mark.parametrize(
        ("layer", "limits", "others"),
        [
            ("visitor", {"each": 1}, {"address": "b"}),
            ("address", {"each": 1}, {"visitor": uuid7()}),
            ("chatbot", {"each": None, "all_of_them": 1}, {"visitor": uuid7(), "address": "b"}),
        ],
    )
    async def test_each_layer_refuses_by_its_name_until_the_reset(
        self, world: World, layer: str, limits: dict[str, Any], others: dict[str, Any]
    ) -> None:
        chatbot, visitor = uuid7(), uuid7()
        first = {"chatbot": chatbot, "visitor": visitor, **limits}
        hold = await world.hold(**question(**first))
        with pytest.raises(DemoLimitReached) as busy:
            await world.hold(**question(**first | others))
        await settle(world, hold, chatbot, visitor)
        with pytest.raises(DemoLimitReached) as spent:
            await world.hold(**question(**first | others))
        assert busy.value.retry_after == timedelta(seconds=5)
        assert spent.value.retry_after == datetime(2026, 4, 1, tzinfo=UTC) - world.clock.now()
        told = spent.value.extensions
        assert (told["layer"], told["unit"], told["limit"], told["used"]) == (layer, "messages", 1, 1)
        await world.hold(**question(uuid7(), uuid7(), "c", **limits))  # another chatbot

    async def test_a_hold_that_expires_gives_its_message_back(self, world: World) -> None:
        chatbot, visitor = uuid7(), uuid7()
        await world.hold(**question(chatbot, visitor, each=1))
        world.clock.advance(MINUTE)
        again = await world.hold(**question(chatbot, visitor, each=1))
        await settle(world, again, chatbot, visitor)
        with pytest.raises(DemoLimitReached):
            await world.hold(**question(chatbot, visitor, each=1))

    async def test_the_month_begins_anew(self, world: World) -> None:
        chatbot, visitor = uuid7(), uuid7()
        await settle(world, await world.hold(**question(chatbot, visitor, each=1)), chatbot, visitor)
        world.clock.moment = datetime(2026, 4, 1, 0, 0, 1, tzinfo=UTC)
        await world.hold(**question(chatbot, visitor, each=1))

    async def test_whoever_has_a_key_of_the_chatbot_is_not_counted_as_a_visitor(self, world: World) -> None:
        chatbot = uuid7()
        await world.hold(**question(chatbot, uuid7(), each=None, all_of_them=1))
        subjects = {SubjectType.CHATBOT: chatbot, SubjectType.KEY: uuid7()}
        for _ in range(3):
            await world.hold(
                amounts=ASKED, subjects=subjects, limits=stated((SubjectType.CHATBOT, LimitUnit.TOKENS, None))
            )


class TestStatedLimits:
    async def test_the_last_one_stated_binds_and_null_lifts_it(self, world: World, database: ClonedDatabase) -> None:
        own = {SubjectType.CHATBOT: uuid7()}

        async def hold(limit: int | None) -> Hold:
            limits = stated((SubjectType.CHATBOT, LimitUnit.TOKENS, limit))
            return await world.hold(1000, subjects=own, limits=limits)

        await hold(1500)
        with pytest.raises(BudgetBusy) as refused:
            await hold(1500)
        assert (refused.value.extensions["layer"], refused.value.extensions["held"]) == ("chatbot", 1000)
        await hold(2000)
        with pytest.raises(QuotaExceeded):
            await hold(500)
        await hold(None)
        assert (await budgets(database, world.tenant))["chatbot", "tokens"] == (None, 0, 3000)

    async def test_a_plan_binds_whatever_is_stated(self, world: World, database: ClonedDatabase) -> None:
        async with database.connect() as connection:
            await connection.execute("INSERT INTO usage.plan_limits VALUES ('standard', 'chatbot', 'tokens', 1500)")
        with pytest.raises(QuotaExceeded):  # also at the tenant's very first use
            own = {SubjectType.CHATBOT: uuid7()}
            await world.hold(2000, subjects=own, limits=stated((SubjectType.CHATBOT, LimitUnit.TOKENS, None)))
        for limit, binding in ((None, 1500), (9000, 1500), (1200, 1200)):
            own = {SubjectType.CHATBOT: uuid7()}
            limits = stated((SubjectType.CHATBOT, LimitUnit.TOKENS, limit))
            await world.hold(1000, subjects=own, limits=limits)
            with pytest.raises(BudgetBusy) as refused:
                await world.hold(1000, subjects=own, limits=limits)
            assert refused.value.extensions["limit"] == binding

    @pytest.mark.parametrize("kind", [SubjectType.CHATBOT, SubjectType.VISITOR, SubjectType.KEY])
    async def test_a_limit_stated_later_knows_what_was_used_before(self, world: World, kind: SubjectType) -> None:
        who = uuid7()
        await world.spend(400, user_id=None, **{f"{kind}_id": who})
        await world.spend(400, user_id=None, **{f"{kind}_id": uuid7()})
        limits = stated((kind, LimitUnit.TOKENS, 500))
        with pytest.raises(QuotaExceeded) as refused:
            await world.hold(200, subjects={kind: who}, limits=limits)
        assert (refused.value.extensions["used"], refused.value.extensions["layer"]) == (400, kind.value)

    async def test_budgets_go_when_their_month_is_over_and_nothing_is_held(
        self, world: World, database: ClonedDatabase
    ) -> None:
        chatbot, visitor = uuid7(), uuid7()
        world.clock.moment = datetime(2026, 3, 31, 23, 59, 50, tzinfo=UTC)
        await world.set_tokens(1000, world.user)
        await settle(world, await world.hold(**question(chatbot, visitor)), chatbot, visitor)
        await world.hold(**question(chatbot, visitor))
        await world.quotas.purge()
        kept = await budgets(database, world.tenant)
        gone = question(chatbot, uuid7(), "b")
        await world.quotas.release((await world.hold(**gone)).id)
        count = "SELECT count(*) FROM usage.budgets WHERE tenant_id = $1 AND subject_type IN ('visitor', 'address')"
        world.clock.moment = datetime(2026, 4, 1, 0, 0, 10, tzinfo=UTC)
        async with database.connect() as connection:
            assert await connection.fetchval(count, world.tenant) == 4
            await world.quotas.purge()
            assert await connection.fetchval(count, world.tenant) == 2
        assert (await budgets(database, world.tenant)).keys() == kept.keys()  # held, or of a user
        world.clock.advance(MINUTE)
        await world.quotas.sweep()
        async with database.connect() as blocker, blocker.transaction():
            await blocker.execute("SELECT FROM usage.budgets WHERE tenant_id = $1 FOR UPDATE", world.tenant)
            await world.quotas.purge()  # a tenant that is being counted is passed over
        assert (await budgets(database, world.tenant)).keys() == kept.keys()
        await world.quotas.purge()
        assert (await budgets(database, world.tenant)).keys() == {("user", "tokens")}

    async def test_a_report_tells_owners_what_each_chatbot_used(self, world: World) -> None:
        cheap, dear, visitor = uuid7(), uuid7(), uuid7()
        limits = stated((SubjectType.CHATBOT, LimitUnit.TOKENS, 5000))
        await settle(world, await world.hold(**question(cheap, visitor)), cheap, visitor)
        for _ in range(2):
            asked = question(dear, visitor)
            hold = await world.hold(**asked | {"limits": asked["limits"][1:] + limits})
            await settle(world, hold, dear, visitor)
        await world.hold(**question(cheap, visitor))
        report = await world.ledger.report(Caller(TenantId(world.tenant), "user", uuid7(), role="owner"))
        shown = UsageReport.of(report, with_users=True)
        assert shown.by_chatbot is not None
        assert [
            (one.chatbot_id, one.tokens.limit, one.tokens.used, one.tokens.held, one.messages)
            for one in shown.by_chatbot
        ] == [(dear, 5000, 120, 0, 2), (cheap, None, 60, 100, 1)]
        assert sum(one.cost for one in shown.by_chatbot) == pytest.approx(shown.period.cost)
        assert shown.by_user == [] and UsageReport.of(report, with_users=False).by_chatbot is None

    async def test_what_cannot_be_meant_is_refused(self, world: World) -> None:
        one = (SubjectType.USER, LimitUnit.TOKENS, 1)
        for limits in ((one, one), ((SubjectType.VISITOR, LimitUnit.TOKENS, 1),)):
            with pytest.raises(ValidationError):
                world.request(limits=stated(*limits))
