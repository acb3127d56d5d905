"""Nothing that a user wrote and no secret is in a log, an event or a dead letter (S13)."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest

from docuchat_common.events.catalogue import BY_TYPE
from docuchat_common.messaging.topology import EXCHANGE, dead_letter_queue, queue_name
from docuchat_setup.roles import SERVICES
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import PROVIDER_KEY, Product, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

# The one secret that a log may hold, and only with ENVIRONMENT=local: how a newcomer signs in without a mail server.
_CODE_LINE = re.compile(r"^.*auth\.code_issued code=\d{6} email=\S+.*$", re.MULTILINE)


@asynccontextmanager
async def all_events(rabbitmq_url: str) -> AsyncIterator[list[bytes]]:
    """Every event that is published meanwhile, headers included."""
    bodies: list[bytes] = []

    async def keep(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        async with message.process():
            bodies.append(message.body + json.dumps(message.headers, default=str).encode())

    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(EXCHANGE, "#")
        await queue.consume(keep)
        yield bodies


async def dead_letters(rabbitmq_url: str) -> list[bytes]:
    """What lies in any dead-letter queue; it is left there."""
    bodies = []
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection:
        for service in SERVICES:
            for event_type in BY_TYPE:
                channel = await connection.channel()
                try:
                    name = dead_letter_queue(queue_name(service, event_type))
                    queue = await channel.declare_queue(name, passive=True)
                    while (message := await queue.get(fail=False)) is not None:
                        bodies.append(message.body + json.dumps(message.headers, default=str).encode())
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    continue
                finally:
                    if not channel.is_closed:
                        await channel.close()  # gives back what was taken
    return bodies


def secrets_of(product: Product) -> dict[str, str]:
    kept = json.loads((product.running.folder / "secrets.json").read_text())
    environment = product.running.env_for("auth")
    return {
        **kept,
        "provider key": PROVIDER_KEY,
        "internal token": environment["INTERNAL_TOKEN"],
        "JWT secret": environment["JWT_SECRET"],
        "Redis address": product.redis_url,
        "RabbitMQ address": product.rabbitmq_url,
    }


@pytest.mark.full
async def test_no_log_event_or_dead_letter_holds_a_secret_or_a_users_words(
    product: Product, stub_provider: StubProviderHandle, sealed_pdf: Path
) -> None:
    def word() -> str:
        return f"canary{uuid.uuid4().hex[:12]}"

    planted = {
        place: word()
        for place in "email text title filename message session search chat code_guess frame tenant metadata".split()
    }
    async with all_events(product.rabbitmq_url) as events:
        tenant_id = await product.new_tenant()
        async with product.user(tenant_id, f"{planted['email']}@example.com") as user:
            pdf = small_pdf((f"The word is {planted['text']} and it is written here.",))
            document = await user.ready(pdf, title=planted["title"])
            await user.upload(pdf, filename=f"{planted['filename']}.pdf", title=planted["title"])
            broken = await user.upload(b"%PDF-1.7\n" + planted["text"].encode(), filename=f"{planted['filename']}.pdf")
            await user.settled(broken["id"])
            sealed = await user.upload(sealed_pdf, filename=f"{planted['filename']}.pdf")
            await user.settled(sealed["id"])

            question = f"Is {planted['message']} the word {planted['text']}?"
            frames = await user.ask(question, session_id=planted["session"])
            assert planted["text"] in json.dumps(frames)
            for rule in (
                Rule(endpoint="chat", status=500),
                Rule(endpoint="chat", status=429, retry_after=30),
                Rule(endpoint="chat", status=401),
                Rule(endpoint="chat", exact_tokens=20, cut_after=5),
                Rule(endpoint="chat", exact_tokens=20, malformed_after=5, stall_after=5),
                Rule(endpoint="embeddings", status=400),
                Rule(endpoint="embeddings", drop=True),
            ):
                stub_provider.control(rule)
                await user.ask(question)
            stub_provider.control()
            await user.search(planted["search"])
            chat_id = frames[0]["chat_id"]
            await user.http.patch(f"/v1/chats/{chat_id}", json={"title": planted["chat"]})
            await user.http.get("/v1/chats", params={"q": planted["chat"]})
            stored = {"chat_id": chat_id, "content": planted["message"], "metadata": {"note": planted["metadata"]}}
            await user.http.post("/v1/messages", json=stored)

            # what is refused is where a careless log line would quote it
            async with product.client() as stranger:
                for body in ({"email": user.email, "code": "000000"}, {"email": planted["code_guess"], "code": "x"}):
                    await stranger.post("/v1/auth/verify-code", json=body, headers={"X-Tenant-ID": str(tenant_id)})
                await stranger.post("/v1/auth/refresh", json={"refresh_token": user.token})
                await stranger.get("/v1/files", headers={"Authorization": f"Bearer {user.token}x"})
                await stranger.get("/v1/files", headers={**user.headers, "X-Tenant-ID": planted["tenant"]})
                await stranger.get(f"/v1/usage?token={user.token}&q={planted['search']}")
            await user.http.post("/v1/chat", content=b'{"message": "' + planted["message"].encode())
            await user.http.post("/v1/chat", json={"message": planted["message"] * 20_000})
            await user.http.post("/v1/chat", json={"message": planted["message"], "model": planted["message"]})
            refused = {"file": (f"{planted['filename']}.pdf", planted["text"].encode(), "application/pdf")}
            assert (await user.http.post("/v1/files", files=refused)).status_code == 415
            async with user.socket(path=f"/ws/chat?token={user.token}", additional_headers={}) as socket:
                for frame in (
                    planted["frame"],
                    json.dumps({planted["frame"]: 1}),
                    json.dumps({"stop": planted["frame"]}),
                ):
                    await socket.send(frame)
                    assert json.loads(await socket.recv())["type"] == "error"
            again = await user.http.post("/v1/auth/refresh", json={"refresh_token": user.refresh_token})
            tokens = {
                "access token": user.token,
                "refresh token": user.refresh_token,
                "next access token": again.json()["access_token"],
                "next refresh token": again.json()["refresh_token"],
            }
            await user.http.post("/v1/auth/refresh", json={"refresh_token": user.refresh_token})
            await user.http.delete(f"/v1/files/{document['id']}")

        async def has_come() -> None:
            text = b"".join(events).decode()
            for event_type in ("user.registered.v1", "document.ready.v1", "document.failed.v1", "document.deleted.v1"):
                assert event_type in text
            assert "usage.recorded.v1" in text and "chat.message.completed.v1" in text

        await eventually(has_come)
        everywhere = {"an event": b"\n".join(events).decode()}

    everywhere["a dead letter"] = b"\n".join(await dead_letters(product.rabbitmq_url)).decode()
    for log in sorted(product.running.logs.glob("*.log*")):
        everywhere[log.name] = _CODE_LINE.sub("", await asyncio.to_thread(log.read_text, errors="replace"))
    assert len(everywhere) >= 7
    assert all("http.request" in everywhere[f"{name}.log"] for name in ("gateway", "auth", "chat", "usage"))
    for name, canary in {**planted, **tokens, **secrets_of(product)}.items():
        for place, text in everywhere.items():
            start = text.find(canary)
            assert start < 0, f"{name} stands in {place}: …{text[max(0, start - 200) : start + 80]}…"
