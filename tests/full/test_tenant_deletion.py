"""R14: a tenant is deleted at any moment of what it does, and nothing is left of it in any service."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aio_pika
import httpx2
import pytest
import redis.asyncio as redis

from docuchat_common.events.catalogue import CATALOGUE
from docuchat_common.messaging.topology import dead_letter_queue, queue_name
from docuchat_testkit.eventually import eventually
from docuchat_testkit.leftovers import rows_of
from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

INTERLEAVINGS, AT_ONCE = 60, 10
STAYS = {
    *(f"{schema}.erased_tenants" for schema in ("auth", "chat", "knowledge", "usage")),
    "auth.audit_entries", "auth.revisions", "auth.tenant_receipts", "usage.ledger",
}  # fmt: skip
QUEUES = [queue_name(service, event.type) for event in CATALOGUE for service in event.taken_by]
CHANCE = random.Random(14)


@pytest.fixture
def short_lived(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path: Path
) -> Iterator[Product]:
    """A product whose tenants have no time of grace to speak of."""
    settings = {"TENANT_DELETION_GRACE": "100ms"}
    with started_test_product(
        tmp_path, breakable_servers, redis_number=3, provider=stub_provider_process, settings=settings
    ) as product:
        yield product


async def told_of(owner: User, chatbot_id: str) -> httpx2.Response:
    """One of the things that are done with a chatbot, of which three services know."""
    path = f"/v1/chatbots/{chatbot_id}"
    match CHANCE.randrange(4):
        case 0:
            file = small_pdf((f"Page {CHANCE.random()}.",))
            return await owner.http.post(f"{path}/documents", files={"file": ("page.pdf", file)})
        case 1:
            return await owner.http.patch(path, json={"origins": ["https://blog.example"]})
        case 2:
            return await owner.http.post(f"{path}/rotate_key")
        case _:
            return await owner.http.delete(path)


async def asked_as_others_do(owner: User) -> httpx2.Response:
    """One of the things that clients of other protocols do."""
    question = "When is the picnic?"
    match CHANCE.randrange(5):
        case 0:
            body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]}
            return await owner.http.post("/v1/chat/completions", json=body)
        case 1:
            body = {"model": "gpt-4o-mini", "input": question, "stream": True, "store": False}
            return await owner.http.post("/v1/responses", json=body)
        case 2:
            body = {"model": "gpt-4o-mini", "input": question, "background": True, "metadata": {"of": "a tenant"}}
            answer = await owner.http.post("/v1/responses", json=body)
            if answer.status_code != 200:
                return answer
            path = f"/v1/responses/{answer.json()['id']}"
            stopped = await owner.http.post(f"{path}/cancel")
            return stopped if stopped.status_code != 200 else await owner.http.delete(path)
        case 3:
            body = {"model": "text-embedding-3-small", "input": question}
            return await owner.http.post("/v1/embeddings", json=body)
        case _:
            call = {"name": "ask", "arguments": {"question": question}}
            return await owner.http.post(
                "/mcp",
                json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
                headers={"Accept": "application/json, text/event-stream"},
            )


async def act(owner: User) -> int:
    """Something that people do; what it was answered."""
    match CHANCE.randrange(8):
        case 0:
            file = small_pdf((f"Page {CHANCE.random()}.",) * CHANCE.randint(1, 40))
            answer = await owner.http.post("/v1/files", files={"file": ("page.pdf", file)})
        case 1:
            answer = await owner.http.post("/v1/chat", json={"message": "When is the picnic?", "stream": True})
        case 2:
            answer = await owner.http.post("/v1/chats", json={}, headers={"Idempotency-Key": uuid.uuid4().hex})
        case 3:
            made = await owner.http.post("/v1/chatbots", json={"name": "Bot", "origins": ["https://shop.example"]})
            answer = made if made.status_code != 201 else await told_of(owner, made.json()["id"])
        case 4:
            file = small_pdf((f"Page {CHANCE.random()}.",))
            answer = await owner.http.post("/v1/attachments", files={"file": ("page.pdf", file)})
            if answer.status_code < 300:
                body = {"message": "When is the picnic?", "attachments": [answer.json()["id"]]}
                answer = await owner.http.post("/v1/chat", json=body)
            if answer.status_code == 200:
                answer = await owner.http.post(f"/v1/messages/{answer.json()['message']['id']}/regenerate", json={})
            if answer.status_code == 200:
                answer = await owner.http.post(f"/v1/chats/{answer.json()['chat_id']}/share", json={})
        case 5:
            answer = await owner.http.get("/v1/search", params={"q": "picnic"})
        case 6:
            models = [{"name": "own", "input": CHANCE.randint(1, 9)}]
            body = {"name": f"p-{uuid.uuid4().hex[:8]}", "base_url": "https://models.example/v1", "models": models}
            answer = await owner.http.post("/v1/providers", json=body | {"api_key": "sk-of-a-tenant"})
            if answer.status_code == 201:
                answer = await owner.http.patch(f"/v1/providers/{answer.json()['id']}", json={"models": []})
        case _:
            answer = await asked_as_others_do(owner)
    assert answer.status_code < 500, answer.text
    return answer.status_code


async def live(product: Product, tenant: int, slug: str, one_by_one: asyncio.Lock, *, is_asked: bool) -> None:
    """What people do until the tenant is gone in the midst of it; asked for, they can but read before that."""
    async with AsyncExitStack() as stack:
        async with one_by_one:  # codes are read from the log
            owner = await stack.enter_async_context(product.user(tenant))
        await owner.ready(small_pdf((f"The picnic of {slug} is on Sunday.",)))

        async def go_on() -> None:
            while await act(owner) != 401:  # what is not there any more is 404 for a moment
                pass

        async def delete() -> None:
            await asyncio.sleep(CHANCE.random())
            if is_asked:
                answer = await owner.http.delete("/v1/tenant", params={"confirm": slug})
                assert answer.status_code == 202, answer.text
            else:  # as if the grace had been over for long: nothing has stopped yet
                async with product.database() as connection:
                    await connection.execute("UPDATE auth.tenants SET deletes_at = now() WHERE id = $1", tenant)

        await asyncio.gather(go_on(), go_on(), delete())


async def deleted(product: Product, one_by_one: asyncio.Lock, *, is_asked: bool) -> None:
    slug = f"t-{uuid.uuid4().hex[:12]}"
    async with product.database() as connection:
        tenant = await connection.fetchval(
            "INSERT INTO auth.tenants (slug, name, signup) VALUES ($1, $1, 'open') RETURNING id", slug
        )
    await live(product, tenant, slug, one_by_one, is_asked=is_asked)
    async with product.database() as connection:
        done = "SELECT finished_at IS NOT NULL FROM auth.tenant_receipts WHERE tenant_id = $1"
        await eventually(lambda: connection.fetchval(done, tenant), timeout=120)

        async def is_gone() -> set[str]:
            assert (left := set(await rows_of(connection, tenant)) - STAYS) == set(), left
            return {"nothing"}

        await eventually(is_gone)
        names = (
            "SELECT count(*) FROM usage.ledger WHERE tenant_id = $1 AND num_nonnulls(user_id, chat_id, document_id) > 0"
        )
        assert await connection.fetchval(names, tenant) == 0
    blobs = Path(product.running.env_for("gateway")["BLOB_URL"].removeprefix("file://")) / "tenants" / str(tenant)
    assert not await asyncio.to_thread(blobs.exists)
    store = redis.Redis.from_url(product.redis_url)
    try:
        keys = [key async for key in store.scan_iter(match=f"*:{tenant}:*", count=1000)]
    finally:
        await store.aclose()
    assert [key for key in keys if not key.startswith(b"gateway:") or b":user:" in key] == []


async def messages(product: Product) -> dict[str, Any]:
    connection = await aio_pika.connect(product.rabbitmq_url)
    found = {}
    async with connection:
        channel = await connection.channel()
        for queue in [*QUEUES, *map(dead_letter_queue, QUEUES)]:
            declared = await channel.declare_queue(queue, passive=True)
            if declared.declaration_result.message_count:
                found[queue] = declared.declaration_result.message_count
    return found


async def test_tenants_deleted_at_any_moment_leave_nothing(short_lived: Product) -> None:
    one_by_one = asyncio.Lock()
    for _ in range(INTERLEAVINGS // AT_ONCE):
        await asyncio.gather(*(deleted(short_lived, one_by_one, is_asked=number == 0) for number in range(AT_ONCE)))

    async def is_quiet() -> bool:
        assert (waiting := await messages(short_lived)) == {}, waiting
        return True

    await eventually(is_quiet, timeout=60)
