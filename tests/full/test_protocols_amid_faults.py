"""Questions by every protocol, to a provider that fails and one that stands by, while parts die and lose their data.

Afterwards the ledger is what each provider counted, nothing is held, nothing runs, and what was not to be kept is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import aio_pika
import asyncpg
import httpx2
import pytest
import redis.asyncio

from docuchat_common.messaging.topology import EXCHANGE, SERVICES, queues_of
from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of, product_that_loses_commits
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.provider_rules import Call, Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_MODEL: Final = "gpt-4o-mini"
_FIRST: Final = "first"
_LOST_COMMITS: Final = 0.02
_AT_ONCE: Final = 8
_ASKED: Final = 42
_VICTIMS: Final = ("chat", "usage", "broker's data", "chat-2", "provider", "postgres", "cache")
_SETTINGS: Final = {
    "FALLBACK_MODEL": _MODEL,
    "HOLD_LEASE": "20s",
    "HOLD_SWEEP_INTERVAL": "1s",
    "BOOKING_PATIENCE": "4s",
}
_MARK: Final = re.compile(r"mark-(\d{5})")
_KINDS: Final = ("", "", "", "", "busy", "mute", "gone", "cut")
_RULES: Final = (
    Rule(endpoint="chat", contains="busy", status=429, retry_after=0.1),
    Rule(endpoint="chat", contains="mute", stall_after=0),
    Rule(endpoint="chat", contains="gone", cut_after=0),
    Rule(endpoint="chat", contains="cut", exact_tokens=40, rate=60, cut_after=17),
    Rule(endpoint="chat", exact_tokens=40, rate=60),
)
_WATCH: Final = """
CREATE TABLE testkit.asked (turn_id uuid PRIMARY KEY, question text, is_kept boolean);
CREATE FUNCTION testkit.keep_question() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = testkit AS $$
BEGIN
    INSERT INTO testkit.asked
    SELECT NEW.id, m.content, c.is_kept FROM chat.messages m JOIN chat.chats c ON c.id = m.chat_id
    WHERE m.id = NEW.user_message_id;
    RETURN NULL;
END $$;
CREATE TRIGGER testkit_keep_question AFTER INSERT ON chat.turns
FOR EACH ROW EXECUTE FUNCTION testkit.keep_question();
"""
_FAULTS: Final = {
    "turns that run": "SELECT id FROM chat.turns WHERE state = 'running'",
    "calls that are open": "SELECT id FROM chat.provider_calls WHERE state = 'started'",
    "events that wait": "SELECT event_id FROM chat.outbox UNION ALL SELECT event_id FROM usage.outbox",
    "holds that are open": "SELECT id FROM usage.holds WHERE state = 'held'",
    "budgets that are held": "SELECT unit FROM usage.budgets WHERE held <> 0",
    "chats that are not kept": "SELECT id FROM chat.chats WHERE NOT is_kept",
    "questions that are not kept": """
        SELECT m.content FROM testkit.asked a JOIN chat.messages m ON m.content = a.question WHERE NOT a.is_kept""",
    "turns of no chat": "SELECT id FROM chat.turns t WHERE chat_id NOT IN (SELECT id FROM chat.chats)",
    "tenants whose tokens are not booked as used": """
        SELECT b.tenant_id FROM usage.budgets b
        WHERE b.subject_type = 'tenant' AND b.unit = 'tokens'
          AND b.used <> (SELECT coalesce(sum(input_tokens + output_tokens + embedding_tokens), 0)
                         FROM usage.ledger l WHERE l.tenant_id = b.tenant_id)""",
    "tenants whose requests are not their calls of embeddings": """
        SELECT b.tenant_id, b.used FROM usage.budgets b
        WHERE b.subject_type = 'tenant' AND b.unit = 'requests'
          AND b.used <> (SELECT count(*) FROM usage.ledger l WHERE l.tenant_id = b.tenant_id AND l.kind = 'embedding'
                           AND l.turn_id IS NULL AND l.document_id IS NULL)""",
}


class Refused(AssertionError):
    """A part was away; the same is asked again."""


class Client:
    """Somebody who asks by every protocol, and leaves when it suits."""

    def __init__(self, user: User, chance: random.Random, marks: itertools.count[int]) -> None:
        self._http = user.http
        self._chance = chance
        self._marks = marks
        self.done: Counter[str] = Counter()

    async def act(self) -> None:
        """Do something of everything."""
        ways = (
            self._complete,
            self._complete,
            self._stream_completion,
            self._respond,
            self._stream_response,
            self._stream_response,
            self._respond_in_background,
            self._respond_in_background,
            self._embed,
            self._ask_as_assistant,
        )
        way = self._chance.choice(ways)
        await until_taken(way)
        self.done[way.__name__.strip("_")] += 1

    def _question(self) -> str:
        kind = self._chance.choice(_KINDS)
        return f"How long does the warranty of the kettle last? {kind} mark-{next(self._marks):05}"

    def _model(self) -> str:
        return self._chance.choice((f"{_FIRST}/{_MODEL}", f"{_FIRST}/{_MODEL}", f"{_FIRST}/{_MODEL}", _MODEL))

    def _completion(self, **more: Any) -> dict[str, Any]:
        kept = {"store": True} if self._chance.random() < 0.4 else {}
        return {"model": self._model(), "messages": [{"role": "user", "content": self._question()}], **kept, **more}

    def _response(self, **more: Any) -> dict[str, Any]:
        return {"model": self._model(), "input": self._question(), **more}

    async def _post(self, path: str, body: dict[str, Any], **more: Any) -> httpx2.Response:
        return _answered(await self._http.post(path, json=body, **more))

    async def _complete(self) -> None:
        await self._post("/v1/chat/completions", self._completion())

    async def _stream_completion(self) -> None:
        await self._read("POST", "/v1/chat/completions", json=self._completion(stream=True))

    async def _respond(self) -> None:
        await self._post("/v1/responses", self._response(store=self._chance.random() < 0.5))

    async def _stream_response(self) -> None:
        """Leave in the midst, and come back for what is missing."""
        store = self._chance.random() < 0.7
        name, last = await self._read("POST", "/v1/responses", json=self._response(stream=True, store=store))
        if name and store:
            path = f"/v1/responses/{name}?stream=true&starting_after={max(last, 0)}"
            await self._read("GET", path, to_the_end=True)

    async def _respond_in_background(self) -> None:
        name = (await self._post("/v1/responses", self._response(background=True))).json()["id"]
        path = f"/v1/responses/{name}"
        match self._chance.choice(("wait", "cancel", "delete", "leave")):
            case "wait":

                async def has_ended() -> None:
                    answer = _answered(await self._http.get(path))
                    assert answer.status_code == 200 and answer.json()["status"] != "in_progress"

                await eventually(has_ended, 60, 0.2)
            case "cancel":
                await until_taken(partial(self._send, "POST", f"{path}/cancel"))
            case "delete":
                await until_taken(partial(self._send, "DELETE", path))

    async def _send(self, method: str, path: str) -> None:
        _answered(await self._http.request(method, path))

    async def _embed(self) -> None:
        words = " ".join(str(self._chance.randrange(10)) for _ in range(self._chance.randrange(1, 200)))
        body = {"model": "text-embedding-3-small", "input": f"{words} mark-{next(self._marks):05}"}
        await self._post("/v1/embeddings", body)

    async def _ask_as_assistant(self) -> None:
        call = {
            "jsonrpc": "2.0",
            "id": self._chance.randrange(10**9),
            "method": "tools/call",
            "params": {"name": "ask", "arguments": {"question": self._question()}},
        }
        headers = {"Accept": "application/json, text/event-stream"}
        asking = asyncio.create_task(self._post("/mcp", call, headers=headers))
        if self._chance.random() < 0.3:
            await asyncio.wait({asking}, timeout=self._chance.uniform(0.2, 1.5))
            stop = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call["id"]}}
            with contextlib.suppress(httpx2.HTTPError):
                await self._http.post("/mcp", json=stop, headers=headers)
            await asyncio.wait({asking}, timeout=1)
            if not asking.done():
                asking.cancel()
                await asyncio.wait({asking})
                return
        await asking

    async def _read(self, method: str, path: str, *, to_the_end: bool = False, **more: Any) -> tuple[str, int]:
        """Read events, and leave after some; returns the name of the response and the number of the last event."""
        name, last, after = "", -1, 10**6 if to_the_end else self._chance.choice((*range(1, 40), 10**6))
        async with asyncio.timeout(60), self._http.stream(method, path, **more) as response:
            if response.status_code >= 500:
                raise Refused(response.status_code)
            with contextlib.suppress(httpx2.HTTPError):
                async for line in response.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    event = json.loads(line.removeprefix("data: "))
                    name = name or event.get("response", {}).get("id", "")
                    assert event.get("sequence_number", last + 1) == last + 1 or last < 0, event
                    last = event.get("sequence_number", last + 1)
                    after -= 1
                    if not after:
                        break
        return name, last


def _answered(answer: httpx2.Response) -> httpx2.Response:
    if answer.status_code >= 500:
        raise Refused(answer.text)
    return answer


async def until_taken(way: Callable[[], Awaitable[object]]) -> None:
    """Do it again and again, while a part is away."""

    async def taken() -> None:
        try:
            await way()
        except httpx2.HTTPError as error:
            raise Refused from error

    await eventually(taken, 120, 0.2)


async def lose_events(product: Product) -> int:
    """Empty all queues, as a broker that lost its data; how many events were lost."""
    lost = 0
    async with await aio_pika.connect(product.rabbitmq_url) as connection:
        channel = await connection.channel()
        for queue in [queue for service in SERVICES for queue in queues_of(service)]:
            purged = await (await channel.get_queue(queue.name)).purge()
            lost += purged.message_count or 0
    return lost


async def break_parts(
    product: Product, first: StubProviderHandle, chance: random.Random, wait: Callable[[], Awaitable[object]]
) -> None:
    """Break one after the other, each as soon as it is waited for."""
    parts = parts_of(product)
    for victim in _VICTIMS:
        await wait()
        await asyncio.sleep(chance.uniform(0, 0.5))
        if victim == "broker's data":
            await until_taken(partial(lose_events, product))
        elif victim == "cache":
            async with redis.asyncio.Redis.from_url(product.redis_url) as cache:
                await cache.flushdb()
        elif victim == "provider":
            os.kill(first.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(5)
            finally:
                os.kill(first.pid, signal.SIGCONT)
        else:
            await asyncio.to_thread(parts[victim].kill)
            await asyncio.to_thread(parts[victim].start)


def compare_answers(entries: Sequence[asyncpg.Record], calls: Sequence[Call]) -> str:
    """Hold the entries of one provider's answers against its calls; a line about both."""
    served = {_MARK.findall(call.last_message)[-1]: call for call in calls}
    assert len(served) == len(calls), "a question was answered twice by one provider"
    booked = Counter(_MARK.findall(entry["question"])[-1] for entry in entries)
    assert set(booked.values()) <= {1}, f"booked twice: {[mark for mark, times in booked.items() if times > 1]}"
    assert set(served) <= set(booked), f"not booked: {sorted(set(served) - set(booked))}"
    estimated = unseen = 0
    for entry in entries:
        call = served.get(_MARK.findall(entry["question"])[-1])
        if entry["estimated"]:
            estimated, unseen = estimated + 1, unseen + (call is None)
            continue
        assert call is not None, f"the provider never gave a figure for {entry['question']}"
        given = call.prompt_tokens, call.completion_tokens
        assert (entry["input_tokens"], entry["output_tokens"]) == given, (dict(entry), call)
    tokens = sum(entry["input_tokens"] + entry["output_tokens"] for entry in entries)
    of_provider = sum(call.prompt_tokens + call.completion_tokens for call in calls)
    return (
        f"{len(calls)} calls and {of_provider} tokens, {len(entries)} entries and {tokens} tokens; "
        f"{estimated} estimated, of which the provider never saw {unseen}"
    )


def compare_embeddings(entries: Sequence[asyncpg.Record], calls: Sequence[Call]) -> str:
    served = Counter(call.embedding_tokens for call in calls)
    given = Counter(entry["embedding_tokens"] for entry in entries if not entry["estimated"])
    estimated = sum(entry["estimated"] for entry in entries)
    assert not given - served, f"never given: {given - served}"
    assert 0 <= len(entries) - served.total() <= estimated, (len(entries), served.total(), estimated)
    return f"{served.total()} calls, {len(entries)} entries; {estimated} estimated"


async def tell_again(product: Product, times: int) -> int:
    """Publish all events again that were ever committed; how many there were."""
    async with product.database() as admin:
        bodies = [bytes(row["body"]) for row in await admin.fetch("SELECT body FROM testkit.published ORDER BY id")]
    async with await aio_pika.connect(product.rabbitmq_url) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        for body in bodies * times:
            event = json.loads(body)
            message = aio_pika.Message(body, message_id=event["id"], type=event["type"])
            await exchange.publish(message, routing_key=event["type"])
    return len(bodies)


@pytest.mark.parametrize("seed", [8])
async def test_the_books_are_the_providers_and_nothing_is_left(
    breakable_servers: TestServers, stub_provider: StubProviderHandle, tmp_path: Path, seed: int
) -> None:
    chance, marks = random.Random(seed), itertools.count(1)
    lossy = product_that_loses_commits(
        breakable_servers, tmp_path / "product", stub_provider, redis_number=7, seed=seed, settings=_SETTINGS
    )
    with running_stub_provider() as first:
        async with lossy as (product, loser), product.user(await product.new_tenant()) as user:
            await user.ready(small_pdf(("The warranty of the kettle lasts 36 months. mark-00000",)))
            await product.set_quota(user.tenant_id, 10**6, unit="requests")
            await add_platform_provider(product, first)
            await asyncio.to_thread(product.running.add_replica, "chat", shared=True)
            async with product.database() as admin:
                await admin.execute(_WATCH)
            first.control(*_RULES)
            stub_provider.control(_RULES[-1])
            client, places, turn = Client(user, chance, marks), asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(0)
            loser.share = _LOST_COMMITS

            async def ask(number: int) -> None:
                async with places:
                    await client.act()
                if number % (_ASKED // len(_VICTIMS)) == 0:
                    turn.release()

            await asyncio.gather(
                break_parts(product, first, chance, turn.acquire), *(ask(number) for number in range(_ASKED))
            )
            loser.share = 0
            await product.healthy()
            lost = await lose_events(product)
            told = await tell_again(product, 2)
            async with product.database() as admin, redis.asyncio.Redis.from_url(product.redis_url) as cache:

                async def nothing_is_left() -> None:
                    for name, query in _FAULTS.items():
                        found = await admin.fetch(query)
                        assert not found, (name, found)
                    endless = [key async for key in cache.scan_iter("chat:turn:*") if await cache.ttl(key) < 0]
                    assert not endless, endless
                    assert not [
                        call for one in (first, stub_provider) for call in one.calls() if call.outcome == "open"
                    ]

                async def books_agree() -> list[str]:
                    return await compare_books(admin, user.tenant_id, {_FIRST: first, "127.0.0.1": stub_provider})

                lines = await eventually(books_agree, 60, 0.5)
                await eventually(nothing_is_left, 60, 0.5)
            asked = next(marks) - 1
            print(
                f"\nseed {seed}: {dict(client.done)}, {asked} asked, {loser.lost} answers to COMMIT and {lost} events "
                f"lost, {told} told three times",
                *lines,
                sep="\n  ",
            )


async def add_platform_provider(product: Product, stub: StubProviderHandle) -> None:
    key = json.loads((product.running.folder / "operator.json").read_text())["key"]
    async with product.client() as http:
        token = (await http.post("/v1/operator/token", json={"key": key})).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        models = [{"name": _MODEL, "input": 0.1, "output": 0.4}]
        body = {"name": _FIRST, "base_url": stub.base_url, "api_key": "sk-first", "models": models}
        made = await http.post("/v1/operator/providers", json=body)
        assert made.status_code == 201, made.text


async def compare_books(
    admin: asyncpg.Connection[Any], tenant_id: int, stubs: dict[str, StubProviderHandle]
) -> list[str]:
    entries = await admin.fetch(
        """
        SELECT l.kind, l.provider, l.input_tokens, l.output_tokens, l.embedding_tokens, l.estimated, a.question
        FROM usage.ledger l LEFT JOIN testkit.asked a ON a.turn_id = l.turn_id
        WHERE l.tenant_id = $1
        """,
        tenant_id,
    )
    assert {entry["provider"] for entry in entries} <= set(stubs), {entry["provider"] for entry in entries}
    lines = []
    for name, stub in stubs.items():
        calls = [call for call in stub.calls() if call.status == 200]
        own = [entry for entry in entries if entry["provider"] == name]
        chats = [entry for entry in own if entry["kind"] == "chat"]
        assert all(entry["question"] for entry in chats), [dict(entry) for entry in chats if not entry["question"]]
        lines.append(f"{name}: " + compare_answers(chats, [call for call in calls if call.endpoint == "chat"]))
        embeddings = [call for call in calls if call.endpoint == "embeddings"]
        lines.append(f"{name}: " + compare_embeddings([e for e in own if e["kind"] == "embedding"], embeddings))
    return lines
