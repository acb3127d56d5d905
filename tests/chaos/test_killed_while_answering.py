"""R6: the books agree with the provider's own, whoever hangs up, refuses or dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import WebSocketException

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import CommitLoser, parts_of, product_that_loses_commits
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Call, Rule
from docuchat_testkit.servers import TestServers

_TENANTS = 3
_AT_ONCE = 12
_LOST_COMMITS = 0.005
"""Of all COMMITs; a chat makes about ten."""
_MARK = re.compile(r"mark-(\d)-(\d{5})")
_KINDS = ("", "", "", "cut", "unmetered", "busy", "broken", "stalled")
_RULES = (
    Rule(endpoint="chat", contains="cut", exact_tokens=40, rate=60, cut_after=17),
    Rule(endpoint="chat", contains="unmetered", exact_tokens=40, rate=60, usage_frame=False),
    Rule(endpoint="chat", contains="busy", nth=(1, 2, 4, 7, 9), status=429, retry_after=0.2),
    Rule(endpoint="chat", contains="broken", nth=(1, 3, 4, 8), status=500),
    Rule(endpoint="chat", contains="stalled", exact_tokens=40, rate=60, stall_after=9),
    Rule(endpoint="chat", exact_tokens=50, rate=60),
)


async def begins_and_is_left(user: User, message: str, after: int, *, by_socket: bool) -> bool:
    """Ask, and hang up after so many deltas, or at the end; a dying service may hang up first.

    Returns whether the answer began.
    """
    begun, deltas = False, 0
    with contextlib.suppress(httpx2.HTTPError, WebSocketException, OSError, TimeoutError):
        if by_socket:
            async with asyncio.timeout(40), user.socket() as socket:
                await socket.send(json.dumps({"message": message}))
                while deltas < after:
                    frame = json.loads(await socket.recv())
                    begun |= frame["type"] == "start"
                    deltas += frame["type"] == "delta"
                    if frame["type"] in {"end", "error"}:
                        return begun
                if after % 2:
                    socket.transport.abort()
        else:
            async with (
                asyncio.timeout(40),
                user.http.stream("POST", "/v1/chat", json={"message": message, "stream": True}) as response,
            ):
                async for line in response.aiter_lines():
                    begun |= line.startswith("event: start")
                    deltas += line.startswith("event: delta")
                    if deltas >= after:
                        break
    return begun


async def entries_of(product: Product, tenant_id: int) -> list[dict[str, Any]]:
    """The tenant's ledger; an entry of an answer with the question that it answers."""
    async with product.database() as connection:
        rows = await connection.fetch(
            """
            SELECT l.kind, l.turn_id, l.document_id, l.input_tokens, l.output_tokens, l.embedding_tokens, l.estimated,
                   m.content AS question
            FROM usage.ledger l
            LEFT JOIN chat.turns t ON t.id = l.turn_id
            LEFT JOIN chat.messages m ON m.id = t.user_message_id
            WHERE l.tenant_id = $1
            """,
            tenant_id,
        )
    return [dict(row) for row in rows]


async def open_calls(product: Product) -> int:
    """Calls that are declared and not settled, events that wait, holds that are held."""
    async with product.database() as connection:
        count: int = await connection.fetchval(
            """
            SELECT (SELECT count(*) FROM chat.turns WHERE state = 'running')
                 + (SELECT count(*) FROM chat.provider_calls WHERE state = 'started')
                 + (SELECT count(*) FROM knowledge.provider_calls WHERE state = 'started')
                 + (SELECT count(*) FROM chat.outbox) + (SELECT count(*) FROM knowledge.outbox)
            """
        )
    return count


def compare_answers(entries: Sequence[dict[str, Any]], calls: Sequence[Call]) -> tuple[int, int, int]:
    """Hold each answer's entry against the provider's call.

    Returns the difference in tokens of what the provider gave, how many entries are estimated, and how many of those
    the provider never saw (their process died between the row and the request).
    """
    served = {_MARK.findall(call.last_message)[-1][1]: call for call in calls if call.status == 200}
    assert len(served) == sum(call.status == 200 for call in calls), "a question was answered twice"
    booked = Counter(_MARK.findall(entry["question"])[-1][1] for entry in entries)
    assert set(booked.values()) <= {1}, f"booked twice: {[mark for mark, times in booked.items() if times > 1]}"
    assert set(served) <= set(booked), f"unbooked: {sorted(set(served) - set(booked))}"
    difference, unseen = 0, 0
    for entry in entries:
        call = served.get(_MARK.findall(entry["question"])[-1][1])
        if not entry["estimated"]:
            assert call is not None, f"the provider never gave a figure for {entry['question']}"
            difference += abs(entry["input_tokens"] - call.prompt_tokens)
            difference += abs(entry["output_tokens"] - call.completion_tokens)
        unseen += call is None
    return difference, sum(entry["estimated"] for entry in entries), unseen


def compare_embeddings(entries: Sequence[dict[str, Any]], calls: Sequence[Call]) -> tuple[int, int, int]:
    """As `compare_answers`, for embeddings, which are known apart by their size alone."""
    served = Counter(call.embedding_tokens for call in calls if call.status == 200)
    given = Counter(entry["embedding_tokens"] for entry in entries if not entry["estimated"])
    estimated = sum(entry["estimated"] for entry in entries)
    never_given = sum(tokens * times for tokens, times in (given - served).items())
    unseen = len(entries) - served.total()
    assert 0 <= unseen <= estimated, f"{served.total()} calls, {len(entries)} entries, {estimated} estimated"
    return never_given, estimated, unseen


async def compare_books(product: Product, provider: StubProviderHandle, users: Sequence[User]) -> list[str]:
    """Hold each tenant's ledger against the provider's own; a line about each."""
    calls, lines = provider.calls(), []
    for tenant, user in enumerate(users):
        own = [call for call in calls if f"mark-{tenant}-" in call.last_message]
        entries = await entries_of(product, user.tenant_id)
        answers = compare_answers(
            [entry for entry in entries if entry["kind"] == "chat"],
            [call for call in own if call.endpoint == "chat"],
        )
        embeddings = compare_embeddings(
            [entry for entry in entries if entry["kind"] == "embedding"],
            [call for call in own if call.endpoint == "embeddings"],
        )
        assert (answers[0], embeddings[0]) == (0, 0), (answers, embeddings)
        lines.append(
            f"tenant {tenant}: {len(entries)} entries, difference {answers[0] + embeddings[0]} tokens, "
            f"{answers[1]} answers and {embeddings[1]} embeddings estimated, of which the provider never saw "
            f"{answers[2]} and {embeddings[2]}"
        )
    return lines


async def chat_while_parts_die(
    product: Product,
    provider: StubProviderHandle,
    *,
    chats: int,
    victims: Sequence[str],
    seed: int,
    loser: CommitLoser | None = None,
) -> None:
    """Hold the books against the provider's after so many chats that began; what was refused is asked again."""
    chance = random.Random(seed)
    loser = loser or CommitLoser(0, chance)
    parts = parts_of(product)
    places = asyncio.Semaphore(_AT_ONCE)
    begun, marks = 0, itertools.count()
    turning = [asyncio.Event() for _ in victims]  # set when it is a victim's turn

    async def chat(number: int, user: User) -> None:
        nonlocal begun
        kind = chance.choice(_KINDS)
        after = chance.choice((*range(1, 45), 999))

        async def begins() -> None:
            message = f"How long does the warranty last? {kind} mark-{number % _TENANTS}-{next(marks):05}"
            assert await begins_and_is_left(user, message, after, by_socket=bool(number % 2))

        async with places:
            await eventually(begins, 120, 0.2)
            begun += 1
            for event in turning[: begun * (len(victims) + 1) // chats]:
                event.set()

    async def kill() -> None:
        for event, victim in zip(turning, victims, strict=True):
            await event.wait()
            await asyncio.sleep(chance.uniform(0, 0.8))
            await asyncio.to_thread(parts[victim].kill)
            await asyncio.to_thread(parts[victim].start)

    async def read(user: User, number: int, tenant: int) -> None:
        async def upload() -> None:
            text = f"The warranty of lamp {number} lasts 12 months. mark-{tenant}-{number:05}"
            await user.upload(small_pdf((text,)))

        await eventually(upload, 60)

    tenants = [await product.new_tenant() for _ in range(_TENANTS)]
    async with product.user(tenants[0]) as a, product.user(tenants[1]) as b, product.user(tenants[2]) as c:
        users = (a, b, c)
        for tenant, user in enumerate(users):
            await user.ready(small_pdf((f"The warranty of the kettle lasts 36 months. mark-{tenant}-99999",)))
        provider.control(*_RULES)
        loser.share = _LOST_COMMITS
        documents = max(3, chats // 20)
        await asyncio.gather(
            kill(),
            *(chat(number, users[number % _TENANTS]) for number in range(chats)),
            *(read(users[number % _TENANTS], number, number % _TENANTS) for number in range(documents)),
        )
        loser.share = 0
        await product.healthy()

        async def all_is_settled() -> None:
            assert await open_calls(product) == 0
            assert [call for call in provider.calls() if call.outcome == "open"] == []
            for user in users:
                assert (await user.usage())["quota"]["tokens"]["held"] == 0
                listed = (await user.http.get("/v1/files")).json()["items"]
                assert {item["status"] for item in listed} <= {"ready", "failed"}

        await eventually(all_is_settled, 120)

        lines = await eventually(lambda: compare_books(product, provider, users))
    served = sum(call.endpoint == "chat" and call.status == 200 for call in provider.calls())
    print(
        f"\nR6: {begun} chats begun of {next(marks)} asked, {served} answered by the provider, {documents} documents, "
        f"kills {dict(Counter(victims))}, {loser.lost} answers to COMMIT lost; " + "; ".join(lines)
    )
    assert served >= chats / 2
    provider.control()


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_the_books_agree_whoever_leaves_and_dies(product: Product, stub_provider: StubProviderHandle) -> None:
    await chat_while_parts_die(product, stub_provider, chats=30, victims=("chat", "usage", "redis"), seed=6)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_the_books_of_a_thousand_chats_agree_whoever_leaves_and_dies_and_whatever_commit_is_lost(
    breakable_servers: TestServers, stub_provider: StubProviderHandle, tmp_path: Path
) -> None:
    victims = ("chat", "ingest-worker", "redis", "usage", "gateway", "rabbitmq", "postgres") * 2
    lossy = product_that_loses_commits(breakable_servers, tmp_path / "product", stub_provider, redis_number=4, seed=8)
    async with lossy as (product, loser):
        await chat_while_parts_die(product, stub_provider, chats=1_000, victims=victims, seed=66, loser=loser)
