"""R6: the books agree with the provider's own, whoever hangs up, refuses or dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from websockets.exceptions import WebSocketException

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Call, Rule

_LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))
_TENANTS = 3
_AT_ONCE = 12
_MARK = re.compile(r"mark-(\d)-(\d{4})")
_KINDS = ("", "", "", "cut", "unmetered", "busy", "broken", "stalled")
_RULES = (
    Rule(endpoint="chat", contains="cut", exact_tokens=40, rate=60, cut_after=17),
    Rule(endpoint="chat", contains="unmetered", exact_tokens=40, rate=60, usage_frame=False),
    Rule(endpoint="chat", contains="busy", nth=(1, 2, 4, 7, 9), status=429, retry_after=0.2),
    Rule(endpoint="chat", contains="broken", nth=(1, 3, 4, 8), status=500),
    Rule(endpoint="chat", contains="stalled", exact_tokens=40, rate=60, stall_after=9),
    Rule(endpoint="chat", exact_tokens=50, rate=60),
)


async def ask_and_leave(user: User, message: str, after: int, *, by_socket: bool) -> None:
    """Ask, and hang up after so many deltas, or at the end; a dying service may hang up first."""
    deltas = 0
    with contextlib.suppress(httpx2.HTTPError, WebSocketException, OSError, TimeoutError):
        if by_socket:
            async with asyncio.timeout(40), user.socket() as socket:
                await socket.send(json.dumps({"message": message}))
                while deltas < after:
                    frame = json.loads(await socket.recv())
                    if frame["type"] in {"end", "error"}:
                        return
                    deltas += frame["type"] == "delta"
                if after % 2:
                    socket.transport.abort()
        else:
            async with (
                asyncio.timeout(40),
                user.http.stream("POST", "/v1/chat", json={"message": message, "stream": True}) as response,
            ):
                async for line in response.aiter_lines():
                    deltas += line.startswith("event: delta")
                    if deltas >= after:
                        return


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


async def chat_while_parts_die(
    product: Product, provider: StubProviderHandle, *, chats: int, victims: Sequence[str], seed: int
) -> None:
    chance = random.Random(seed)
    parts = parts_of(product)
    places = asyncio.Semaphore(_AT_ONCE)
    started = 0
    turning = [asyncio.Event() for _ in victims]  # set when it is a victim's turn

    async def chat(number: int, user: User) -> None:
        nonlocal started
        async with places:
            started += 1
            reached = started * (len(victims) + 1) // chats
            for event in turning[:reached]:
                event.set()
            kind = chance.choice(_KINDS)
            message = f"How long does the warranty last? {kind} mark-{number % _TENANTS}-{number:04}"
            await ask_and_leave(user, message, chance.choice((*range(1, 45), 999)), by_socket=bool(number % 2))

    async def kill() -> None:
        for event, victim in zip(turning, victims, strict=True):
            await event.wait()
            await asyncio.sleep(chance.uniform(0, 0.8))
            await asyncio.to_thread(parts[victim].kill)
            await asyncio.to_thread(parts[victim].start)

    async def read(user: User, number: int, tenant: int) -> None:
        async def upload() -> None:
            text = f"The warranty of lamp {number} lasts 12 months. mark-{tenant}-{number:04}"
            await user.upload(small_pdf((text,)))

        await eventually(upload, 60)

    tenants = [await product.new_tenant() for _ in range(_TENANTS)]
    async with product.user(tenants[0]) as a, product.user(tenants[1]) as b, product.user(tenants[2]) as c:
        users = (a, b, c)
        for tenant, user in enumerate(users):
            await user.ready(small_pdf((f"The warranty of the kettle lasts 36 months. mark-{tenant}-9999",)))
        provider.control(*_RULES)
        documents = max(3, chats // 20)
        await asyncio.gather(
            kill(),
            *(chat(number, users[number % _TENANTS]) for number in range(chats)),
            *(read(users[number % _TENANTS], number, number % _TENANTS) for number in range(documents)),
        )
        await product.healthy()

        async def all_is_settled() -> None:
            assert await open_calls(product) == 0
            assert [call for call in provider.calls() if call.outcome == "open"] == []
            for user in users:
                assert (await user.usage())["quota"]["tokens"]["held"] == 0
                listed = (await user.http.get("/v1/files")).json()["items"]
                assert {item["status"] for item in listed} <= {"ready", "failed"}

        await eventually(all_is_settled, 120)

        async def books_agree() -> list[str]:
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

        lines = await eventually(books_agree, 30)
    print(f"\nR6: {chats} chats, {documents} documents, kills {dict(Counter(victims))}; " + "; ".join(lines))
    provider.control()


@pytest.mark.timeout(240)
async def test_the_books_agree_whoever_leaves_and_dies(product: Product, stub_provider: StubProviderHandle) -> None:
    await chat_while_parts_die(product, stub_provider, chats=30, victims=("chat", "usage", "redis"), seed=6)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_the_books_of_a_thousand_chats_agree_whoever_leaves_and_dies(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    victims = ("chat", "ingest-worker", "redis", "usage", "gateway", "rabbitmq", "postgres") * 2
    await chat_while_parts_die(product, stub_provider, chats=1_000, victims=victims, seed=66)
