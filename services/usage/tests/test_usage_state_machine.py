"""Whatever happens in whatever order: used + held stays within the limit, and held is the sum of the open holds.

Visitors are held to the messages that whoever holds states, the last statement counting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from docuchat_common.contracts.holds import (
    BudgetBusy,
    DemoLimitReached,
    HoldUnit,
    LimitUnit,
    StatedLimit,
    SubjectType,
)
from docuchat_common.errors import QuotaExceeded
from docuchat_usage.quotas.errors import HoldNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from uuid import UUID

    from conftest import World

LIMIT = 5000
LEASE = timedelta(seconds=60)


def machine_on(  # noqa: C901 - one small rule beside the other
    open_world: Callable[..., AbstractAsyncContextManager[World]],
) -> type[RuleBasedStateMachine]:
    class Budgets(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.runner = asyncio.Runner()
            self.stack = AsyncExitStack()
            self.world = self.runner.run(self.stack.enter_async_context(open_world()))
            self.runner.run(self.world.set_tokens(LIMIT))
            self.open: dict[UUID, int] = {}
            self.leases: dict[UUID, object] = {}
            self.used = 0
            self.asker: dict[UUID, str] = {}
            self.sent: Counter[str] = Counter()

        def teardown(self) -> None:
            self.runner.run(self.stack.aclose())
            self.runner.close()

        def lapse(self) -> None:
            now = self.world.clock.now()
            self.open = {hold: tokens for hold, tokens in self.open.items() if self.leases[hold] > now}

        @rule(tokens=st.integers(1, 2000))
        def hold(self, tokens: int) -> None:
            self.lapse()
            fits = self.used + sum(self.open.values()) + tokens <= LIMIT
            try:
                hold = self.runner.run(self.world.hold(tokens))
            except (BudgetBusy, QuotaExceeded):
                assert not fits
                return
            assert fits
            self.open[hold.id], self.leases[hold.id] = hold.tokens, hold.expires_at

        @rule(tokens=st.integers(1, 500), visitor=st.sampled_from("ab"), most=st.integers(0, 4) | st.none())
        def hold_for_visitor(self, tokens: int, visitor: str, most: int | None) -> None:
            self.lapse()
            running = sum(self.asker.get(hold) == visitor for hold in self.open)
            has_messages = most is None or self.sent[visitor] + running < most
            fits = self.used + sum(self.open.values()) + tokens <= LIMIT
            request = {
                "amounts": {HoldUnit.INPUT_TOKENS: tokens, HoldUnit.MESSAGES: 1},
                "subjects": {SubjectType.VISITOR: visitor},
                "limits": (StatedLimit(type=SubjectType.VISITOR, unit=LimitUnit.MESSAGES, amount=most),),
            }
            try:
                hold = self.runner.run(self.world.hold(**request))
            except DemoLimitReached:
                assert fits and not has_messages
            except (BudgetBusy, QuotaExceeded):
                assert not fits
            else:
                assert fits and has_messages
                self.open[hold.id], self.leases[hold.id] = hold.tokens, hold.expires_at
                self.asker[hold.id] = visitor

        @precondition(lambda self: self.open)
        @rule(data=st.data(), share=st.floats(0, 1))
        def settle(self, data: st.DataObject, share: float) -> None:
            hold = data.draw(st.sampled_from(list(self.open)))
            self.lapse()
            if hold not in self.open:
                return
            tokens = int(self.open.pop(hold) * share)
            self.runner.run(self.world.spend(tokens, hold_id=hold))
            self.used += tokens
            if hold in self.asker:
                self.sent[self.asker[hold]] += 1

        @precondition(lambda self: self.open)
        @rule(data=st.data(), share=st.floats(0, 1.5))
        def renew(self, data: st.DataObject, share: float) -> None:
            hold = data.draw(st.sampled_from(list(self.open)))
            self.lapse()
            if hold not in self.open:
                return
            tokens = int(self.open[hold] * share)
            renewed = self.runner.run(self.world.quotas.renew(hold, LEASE, tokens))
            assert renewed.tokens == min(tokens, self.open[hold])
            self.open[hold], self.leases[hold] = renewed.tokens, renewed.expires_at

        @precondition(lambda self: self.open)
        @rule(data=st.data())
        def release(self, data: st.DataObject) -> None:
            hold = data.draw(st.sampled_from(list(self.open)))
            self.runner.run(self.world.quotas.release(hold))
            self.open.pop(hold)

        @rule(seconds=st.integers(1, 90), sweep=st.booleans())
        def time_passes(self, seconds: int, sweep: bool) -> None:
            self.world.clock.advance(timedelta(seconds=seconds))
            if sweep:
                self.runner.run(self.world.quotas.sweep())
                self.lapse()
                gone = set(self.leases) - set(self.open)
                for hold in gone:
                    with pytest.raises(HoldNotFound):
                        self.runner.run(self.world.quotas.renew(hold, LEASE, None))
                    del self.leases[hold]

        @invariant()
        def counters_are_right(self) -> None:
            self.lapse()
            assert self.runner.run(self.world.counted()) == (self.used, sum(self.open.values()))
            assert self.used + sum(self.open.values()) <= LIMIT

    return Budgets


def bounded(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def test_no_order_of_events_overruns_the_budget(
    open_world: Callable[..., AbstractAsyncContextManager[World]],
) -> None:
    run_state_machine_as_test(machine_on(open_world), settings=bounded(15, 40))


@pytest.mark.full
@pytest.mark.timeout(900)
def test_ten_thousand_steps_never_overrun_the_budget(
    open_world: Callable[..., AbstractAsyncContextManager[World]],
) -> None:
    run_state_machine_as_test(machine_on(open_world), settings=bounded(100, 100))
