"""P9: a backlog of usage events that waits in RabbitMQ is booked, each once; and what a hold and a booking cost.

`python benchmarks/booking.py [--events 100000]` starts its own PostgreSQL and RabbitMQ and prints what it measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from docuchat_common.clock import SystemClock
from docuchat_common.contracts.holds import (
    Amount,
    HoldKind,
    HoldRequest,
    HoldUnit,
    LimitUnit,
    StatedLimit,
    Subject,
    SubjectType,
)
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.ids import uuid7
from docuchat_testkit.databases import ClonedDatabase, build_template, clone, run_blocking
from docuchat_testkit.identity import INTERNAL_TOKEN
from docuchat_testkit.messaging import TestBroker, others
from docuchat_testkit.servers import local_servers
from docuchat_usage.bootstrap import open_container
from docuchat_usage.ledger.domain import Kind, Usage
from docuchat_usage.ledger.service import LedgerService
from docuchat_usage.quotas.service import Policy, QuotaService
from docuchat_usage.settings import Settings
from docuchat_usage.transaction import compose

TARGET = 5000
TENANTS = 50


def usage(number: int) -> Usage:
    return Usage(
        event_id=uuid7(), tenant_id=1 + number % TENANTS, kind=Kind.CHAT, provider="openai", model="gpt-4o-mini",
        input_tokens=900, output_tokens=100, estimated=False, occurred_at=datetime.now(UTC), user_id=uuid7(),
    )  # fmt: skip


def request(*subjects: tuple[SubjectType, str], limits: tuple[StatedLimit, ...] = ()) -> HoldRequest:
    wanted = ((HoldUnit.INPUT_TOKENS, 800), (HoldUnit.OUTPUT_TOKENS, 200), (HoldUnit.MESSAGES, 1))
    return HoldRequest(
        tenant_id=1,
        subjects=tuple(Subject(type=kind, id=name) for kind, name in subjects),
        kind=HoldKind.CHAT,
        provider="openai",
        model="gpt-4o-mini",
        lease=timedelta(minutes=5),
        amounts=tuple(Amount(unit=unit, amount=amount) for unit, amount in wanted),
        limits=limits,
    )


def visitors_request(visitor: str, address: str) -> HoldRequest:
    """As chat asks for a visitor's question."""
    chatbot = str(uuid5(NAMESPACE_URL, "chatbot"))
    visitors = (SubjectType.VISITOR, SubjectType.ADDRESS, SubjectType.VISITORS)
    stated = [(SubjectType.CHATBOT, unit) for unit in LimitUnit]
    stated += [(kind, LimitUnit.MESSAGES) for kind in visitors] + [(SubjectType.VISITOR, LimitUnit.TOKENS)]
    return request(
        (SubjectType.CHATBOT, chatbot),
        *zip(visitors, (visitor, address, chatbot), strict=True),
        limits=tuple(StatedLimit(type=kind, unit=unit, amount=10**12) for kind, unit in stated),
    )


async def median(count: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Microseconds of one, of so many one after the other."""
    took = []
    for number in range(count):
        began = time.perf_counter()
        await work(number)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


async def statements(database: ClonedDatabase) -> None:
    """What a hold, a booking and a list of bookings cost, one after the other on an idle server."""
    async with database.open("usage") as pools:
        uow = UnitOfWork(pools, compose, schema="usage")
        quotas, ledger = QuotaService(uow, SystemClock(), Policy()), LedgerService(uow, SystemClock())

        async def hold(_: int) -> None:
            await quotas.hold(request((SubjectType.USER, str(uuid7()))))

        async def hold_for_visitor(number: int) -> None:
            await quotas.hold(visitors_request(str(uuid7()), f"address {number % 100}"))

        async def book(number: int) -> None:
            await ledger.book([usage(number)])

        async def function(sql: str, *arguments: object) -> float:
            """The same call as the statement alone, inside one transaction each."""
            async with pools.connection(system=True) as connection:
                return await median(1000, lambda _: connection.fetch(sql, *arguments))

        for tenant in range(1, TENANTS + 1):
            await quotas.open_tenant(tenant)
        print(f"hold, whole use case                {await median(1500, hold):8.0f} µs")
        print(f"hold of a new visitor, with limits  {await median(1500, hold_for_visitor):8.0f} µs")
        print(f"book one event, whole use case      {await median(1500, book):8.0f} µs")
        for size in (32, 128, 256):
            lists = [[usage(number) for number in range(size)] for _ in range(30)]
            each = await median(30, lambda number, lists=lists: ledger.book(lists[number])) / size
            print(f"book one of a list of {size:4}          {each:8.0f} µs")
        print(f"an empty statement                  {await function('SELECT 1'):8.0f} µs")


async def backlog(database: ClonedDatabase, rabbitmq: TestBroker, count: int) -> bool:
    """Publish, then start the service and wait until the ledger has every event once."""
    rabbitmq.declare("usage")
    async with others(rabbitmq) as services:
        began = time.perf_counter()
        for first in range(0, count, 500):
            await asyncio.gather(
                *(services.publish(_event(number)) for number in range(first, min(first + 500, count)))
            )
        published = time.perf_counter() - began
    os.environ.update(
        DATABASE_URL=database.url("usage"), SYSTEM_DATABASE_URL=database.system_url("usage"), ENVIRONMENT="test",
        RABBITMQ_URL=rabbitmq.url("usage"), REDIS_URL="redis://127.0.0.1:1", INTERNAL_TOKEN=INTERNAL_TOKEN,
        LOG_LEVEL="ERROR",
    )  # fmt: skip
    async with database.connect() as connection:
        before = await connection.fetchval("SELECT count(*) FROM usage.ledger")
        began = time.perf_counter()
        async with open_container(Settings()):
            while (  # noqa: ASYNC110 - the books are in another process
                booked := await connection.fetchval("SELECT count(*) FROM usage.ledger") - before
            ) < count:
                await asyncio.sleep(0.2)
            took = time.perf_counter() - began
        sums = await connection.fetchval("SELECT sum(used) FROM usage.budgets WHERE unit = 'tokens'")
        entries = await connection.fetchval("SELECT sum(input_tokens + output_tokens) FROM usage.ledger")
    rate = count / took
    print(f"published {count:,} events in {published:.1f} s")
    print(f"booked {booked:,} in {took:.1f} s: {rate:,.0f}/s (target {TARGET:,}/s)")
    print(f"budgets and ledger agree: {sums == entries}")
    return rate >= TARGET and sums == entries


def _event(number: int) -> UsageRecorded:
    return UsageRecorded(
        tenant_id=1 + number % TENANTS, kind="chat", provider="openai", model="gpt-4o-mini", input_tokens=900,
        output_tokens=100, estimated=False, user_id=uuid7(),
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    with local_servers() as servers:
        template = run_blocking(build_template(servers.postgres_url))
        database = run_blocking(clone(servers.postgres_url, template))
        asyncio.run(statements(database))
        return 0 if asyncio.run(backlog(database, TestBroker(servers.new_rabbitmq_url()), given.events)) else 1


if __name__ == "__main__":
    sys.exit(main())
