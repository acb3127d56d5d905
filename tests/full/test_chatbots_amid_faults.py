"""Chatbots are made, changed, asked and deleted while parts die, commits are not answered and events are lost.

Afterwards chat, auth and the knowledge store know the same chatbots, and what visitors used is what they were answered.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aio_pika
import asyncpg
import httpx2
import pytest

from docuchat_common.messaging.topology import EXCHANGE, SERVICES, queues_of
from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of, product_that_loses_commits
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

_PAGES: Final = ("https://shop.example", "https://blog.example", "https://news.example")
_QUESTION: Final = {"question": "How long does the warranty of the kettle last?"}
_VICTIMS: Final = ("chat", "auth-2", "postgres", "chat-2", "rabbitmq", "usage", "auth", "redis", "ingest-worker")
_LIVES, _ROUNDS = 4, 5
_LOST_COMMITS: Final = 0.01
_SETTINGS: Final = {
    "DEMO_MESSAGES": "3",
    "HOLD_LEASE": "20s",
    "HOLD_SWEEP_INTERVAL": "1s",
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
    "VISITORS_PER_ADDRESS": "100000/m",
    "QUESTIONS_PER_ADDRESS": "100000/m",
}
_NOBODYS: Final = "NOT EXISTS (SELECT FROM chat.chatbots b WHERE b.id = {})"
_FAULTS: Final = {
    "chatbots that auth does not know": "SELECT id FROM chat.chatbots EXCEPT SELECT id FROM auth.chatbots",
    "chatbots that only auth knows": "SELECT id FROM auth.chatbots EXCEPT SELECT id FROM chat.chatbots",
    "chatbots whose pages auth knows otherwise": """
        SELECT c.id FROM chat.chatbots c JOIN auth.chatbots a ON a.id = c.id
        WHERE NOT (c.origins <@ a.origins AND a.origins <@ c.origins)""",
    "keys of no chatbot": "SELECT id FROM auth.api_keys k WHERE chatbot_id IS NOT NULL AND "
    + _NOBODYS.format("k.chatbot_id"),
    "chatbots without a key": """
        SELECT id FROM chat.chatbots c WHERE NOT EXISTS (SELECT FROM auth.api_keys k WHERE k.chatbot_id = c.id)""",
    "collections of no chatbot": "SELECT id FROM knowledge.collections c WHERE kind = 'chatbot' AND "
    + _NOBODYS.format("c.id"),
    "chats of no chatbot": """
        SELECT id FROM chat.chats c WHERE chatbot_id IS NOT NULL AND deleted_at IS NULL AND """
    + _NOBODYS.format("c.chatbot_id"),
    "what auth is still to be told": "SELECT id FROM chat.untold_chatbots",
    "turns that run": "SELECT id FROM chat.turns WHERE state = 'running'",
    "events that wait": "SELECT event_id FROM chat.outbox UNION ALL SELECT event_id FROM knowledge.outbox",
    "messages that are held": "SELECT id FROM usage.budgets WHERE unit = 'messages' AND held > 0",
    "visitors whose messages are not their answers": """
        SELECT b.subject_id FROM usage.budgets b
        WHERE b.subject_type = 'visitor' AND b.unit = 'messages'
          AND b.used <> (SELECT count(*) FROM usage.ledger l
                         WHERE l.kind = 'chat' AND l.visitor_id::text = b.subject_id)""",
    "chatbots whose tokens are not booked as used": """
        SELECT b.subject_id FROM usage.budgets b
        WHERE b.subject_type = 'chatbot' AND b.unit = 'tokens'
          AND b.used <> (SELECT coalesce(sum(input_tokens + output_tokens + embedding_tokens), 0) FROM usage.ledger l
                         WHERE l.chatbot_id::text = b.subject_id)""",
}


async def until_taken(http: httpx2.AsyncClient, method: str, path: str, **sent: Any) -> httpx2.Response:
    """What is answered at last, whoever had to be asked again because a part was away or an answer was lost."""

    async def taken() -> httpx2.Response:
        answer = await http.request(method, path, **sent)
        assert answer.status_code < 500 and "idempotency_key_running" not in answer.text, answer.text
        return answer

    return await eventually(taken, 120, 0.2)


class Life:
    """What the manager of a chatbot and its visitors do, one round after the other."""

    def __init__(self, owner: User, collections: Sequence[str], number: int) -> None:
        self.http = owner.http
        self.collections = collections
        self.chance = random.Random(number)

    async def round(self) -> None:
        chance, key = self.chance, {"Idempotency-Key": uuid.uuid4().hex}
        wanted = {"name": "Shop", "origins": [_PAGES[0]], "collections": self.collections, "publish": True}
        made = await until_taken(self.http, "POST", "/v1/chatbots", json=wanted, headers=key)
        assert made.status_code == 201, made.text
        path = f"/v1/chatbots/{made.json()['id']}"
        acts = [self._visit(made.json()["publishable_id"]), self._add_document(path), self._show_elsewhere(path)]
        chance.shuffle(acts)
        for act in acts:
            await act
        if chance.random() < 0.7:
            gone = await until_taken(self.http, "DELETE", path)
            assert gone.status_code in (204, 404), gone.text

    async def _add_document(self, path: str) -> None:
        file = ("page.pdf", small_pdf((f"Parrot {uuid.uuid4()} is green.",)), "application/pdf")
        await until_taken(self.http, "POST", f"{path}/documents", files={"file": file})

    async def _show_elsewhere(self, path: str) -> None:
        for _ in range(2):
            pages = self.chance.sample(_PAGES, 2)
            await until_taken(self.http, "PATCH", path, json={"origins": pages})
        key = {"Idempotency-Key": uuid.uuid4().hex}
        rotated = await until_taken(self.http, "POST", f"{path}/rotate_key", headers=key)
        assert rotated.status_code == 201, rotated.text

    async def _visit(self, chatbot: str) -> None:
        """Ask more often than the demo allows, with the token of one visitor as long as it is good."""
        for page in _PAGES:
            came = await until_taken(
                self.http, "POST", f"/v1/public/chatbots/{chatbot}/visitors", headers={"Origin": page}
            )
            if came.status_code == 201:
                headers = {"Origin": page, "Authorization": f"Bearer {came.json()['visitor_token']}"}
                for _ in range(4):
                    await until_taken(
                        self.http, "POST", f"/v1/public/chatbots/{chatbot}/query", json=_QUESTION, headers=headers
                    )
                return


async def lose_events(product: Product) -> int:
    """Empty all queues, as a broker that lost its data; how many events were lost."""
    lost = 0
    async with await aio_pika.connect(product.rabbitmq_url) as connection:
        channel = await connection.channel()
        for queue in [queue for service in SERVICES for queue in queues_of(service)]:
            purged = await (await channel.get_queue(queue.name)).purge()
            lost += purged.message_count or 0
    return lost


async def tell_again(product: Product, times: int) -> int:
    """Publish all events again that were ever committed; how many there were."""
    async with product.database() as admin:
        bodies = [bytes(row["body"]) for row in await admin.fetch("SELECT body FROM testkit.published ORDER BY id")]
    async with await aio_pika.connect(product.rabbitmq_url) as connection:
        exchange = await (await connection.channel()).get_exchange(EXCHANGE)
        for body in bodies * times:
            event = json.loads(body)
            await exchange.publish(
                aio_pika.Message(body, message_id=event["id"], type=event["type"]), routing_key=event["type"]
            )
    return len(bodies)


async def faults_of(admin: asyncpg.Connection[Any]) -> dict[str, list[Any]]:
    found = {name: [row[0] for row in await admin.fetch(query)] for name, query in _FAULTS.items()}
    return {name: rows for name, rows in found.items() if rows}


async def test_all_services_know_the_same_chatbots_whatever_dies_and_is_lost(
    breakable_servers: TestServers, stub_provider: StubProviderHandle, tmp_path: Path
) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=20, rate=100))
    lossy = product_that_loses_commits(
        breakable_servers, tmp_path / "product", stub_provider, redis_number=6, seed=7, settings=_SETTINGS
    )
    async with lossy as (product, loser), product.user(await product.new_tenant()) as owner:
        await owner.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        collections = [one["id"] for one in (await owner.http.get("/v1/collections")).json()["items"]]
        for service in ("chat", "auth"):
            await asyncio.to_thread(product.running.add_replica, service, shared=True)
        parts, rounds, lost = parts_of(product), asyncio.Semaphore(0), 0
        loser.share = _LOST_COMMITS

        async def live(number: int) -> None:
            life = Life(owner, collections, number)
            for _ in range(_ROUNDS):
                await life.round()
                rounds.release()

        async def lose() -> None:
            nonlocal lost
            lost += await lose_events(product)

        async def kill() -> None:
            for victim in _VICTIMS:
                await rounds.acquire()
                await asyncio.to_thread(parts[victim].kill)
                await asyncio.to_thread(parts[victim].start)
                if victim == "chat":
                    await eventually(lose, 60)

        await asyncio.gather(kill(), *map(live, range(_LIVES)))
        loser.share = 0
        await product.healthy()
        lost += await lose_events(product)
        told = await tell_again(product, 2)
        await asyncio.to_thread(parts["ingest-worker"].kill)  # it looks for what was left as soon as it starts
        await asyncio.to_thread(parts["ingest-worker"].start)
        async with product.database() as admin:

            async def all_agree() -> None:
                assert (found := await faults_of(admin)) == {}, found

            await eventually(all_agree, 300, 1)
            booked = await admin.fetchval("SELECT count(*) FROM usage.ledger WHERE kind = 'chat'")
            chatbots = await admin.fetchval("SELECT count(*) FROM chat.chatbots")
        calls = [call for call in stub_provider.calls() if call.endpoint == "chat" and call.status == 200]
        print(
            f"\n{_LIVES * _ROUNDS} chatbots, of which {chatbots} are left; kills {len(_VICTIMS)}, {loser.lost} answers "
            f"to COMMIT and {lost} events lost, {told} told three times; {len(calls)} calls, {booked} booked"
        )
        assert len(calls) <= booked
