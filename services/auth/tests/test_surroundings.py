"""Auth among others: replicas, the exchange, the mail server, and Redis or RabbitMQ that are away."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from typing import Any

import aio_pika
import httpx2
import pytest

from docuchat_auth.app import create_app
from docuchat_auth.bootstrap import open_container
from docuchat_auth.settings import Settings
from docuchat_auth.tenants.domain import OPEN
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import INTERNAL_TOKEN

from .conftest import REFRESH, REQUEST, VERIFY, wrong


async def test_events_reach_the_exchange(auth: Any, rabbitmq: TestBroker) -> None:
    connection = await aio_pika.connect(rabbitmq.admin_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange("docuchat.events", ensure=False)
        queue = await channel.declare_queue(exclusive=True)
        for event_type in ("tenant.created.v1", "user.registered.v1", "key.rotated.v1"):
            await queue.bind(exchange, event_type)
        auth.command("create-tenant", "--slug", "second", "--signup", "open")
        auth.command("rotate-keys")
        await auth.tokens_of("user@example.com", "second")
        received: dict[str, Any] = {}

        async def all_three() -> bool:
            message = await queue.get(fail=False, no_ack=True)
            event = json.loads(message.body) if message is not None else None
            # the fixture's own tenant may be told of as late as this
            if event is not None and event["data"].get("slug") != "demo":
                received[event["type"]] = event
            return len(received) == 3

        await eventually(all_three)
    assert received["tenant.created.v1"]["data"] == {"slug": "second", "name": "second"}
    assert received["user.registered.v1"]["data"]["role"] == "owner"
    assert received["key.rotated.v1"]["data"]["kid"]
    assert "user@example.com" not in json.dumps(received)


async def test_two_replicas_share_keys_codes_and_limits(run_auth: Any, unused_port: str) -> None:
    async with run_auth() as one, run_auth(PORT=unused_port) as two:
        code = await one.code_of("user@example.com")
        answer = await two.post(VERIFY, {"email": "user@example.com", "code": code})
        assert answer.status_code == 200
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert (await one.http.get("/v1/users/me", headers=bearer)).status_code == 200
        assert len(await one.query("SELECT 1 FROM auth.signing_keys")) == 1


@pytest.fixture
def unused_port() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


async def test_production_mails_the_code_and_logs_no_secret(run_auth: Any) -> None:
    inbox: list[bytes] = []

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := (await reader.readline()).upper():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                inbox.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n")
            if line.startswith(b"QUIT"):
                break
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(sink, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    secrets = ["canary.person"]
    async with (
        server,
        run_auth(ENVIRONMENT="production", LOG_LEVEL="DEBUG", SMTP_URL=f"smtp://127.0.0.1:{port}") as auth,
    ):
        email = "canary.person@example.com"
        assert (await auth.post(REQUEST, {"email": email})).status_code == 202
        await eventually(lambda: len(inbox) == 1)
        found = re.search(rb"^    (\d{6})\r$", inbox[0], re.MULTILINE)
        assert found is not None
        code = found[1].decode()
        await auth.post(VERIFY, {"email": email, "code": wrong(code)})
        tokens = (await auth.post(VERIFY, {"email": email, "code": code})).json()
        renewed = (await auth.post(REFRESH, {"refresh_token": tokens["refresh_token"]})).json()
        await auth.post(REFRESH, {"refresh_token": tokens["refresh_token"]})
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await auth.http.get("/v1/users/me", headers=bearer)).status_code == 200
        await auth.post(REQUEST, {"email": "canary.person"})
        secrets += [tokens["access_token"], tokens["refresh_token"], renewed["refresh_token"]]
        secrets += [auth.environment["JWT_SECRET"], INTERNAL_TOKEN]
        assert "auth.code_mailed" in auth.log()
        assert "auth.code_issued" not in auth.log()
        assert not [secret for secret in secrets if secret in auth.log()]
        assert not re.search(rf"(?<![0-9a-f.:-]){code}(?![0-9a-f.:-])", auth.log())


async def test_production_without_a_mail_server_does_not_start(auth_environment: dict[str, str]) -> None:
    import subprocess
    import sys

    environment = {**auth_environment, "ENVIRONMENT": "production"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "docuchat_auth"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "SMTP_URL" in done.stderr


@pytest.mark.parametrize("trouble", ["away", "frozen"])
async def test_trouble_with_redis_is_an_answer_in_time(
    auth_environment: dict[str, str], unused_port: str, trouble: str
) -> None:
    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with AsyncExitStack() as stack:
        if trouble == "frozen":
            server = await asyncio.start_server(stay_silent, "127.0.0.1", int(unused_port))
            await stack.enter_async_context(server)
        values = {name if name == "JWT_SECRET" else name.lower(): value for name, value in auth_environment.items()}
        settings = Settings.model_validate({**values, "redis_url": f"redis://127.0.0.1:{unused_port}/0"})
        app = create_app(settings)
        container = await stack.enter_async_context(open_container(settings))
        await container.tenants.create("demo", "Demo", tenant_id=1, signup=OPEN)
        app.state.container = container
        transport = httpx2.ASGITransport(app)
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://auth"))
        async with asyncio.timeout(4):
            answer = await http.post(REQUEST, json={"email": "user@example.com"}, headers={"X-Tenant-ID": "1"})
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/.well-known/jwks.json")).status_code == 200


async def test_without_rabbitmq_auth_is_ready_and_signs_in(auth_environment: dict[str, str], unused_port: str) -> None:
    values = {name if name == "JWT_SECRET" else name.lower(): value for name, value in auth_environment.items()}
    settings = Settings.model_validate({**values, "rabbitmq_url": f"amqp://127.0.0.1:{unused_port}/"})
    app = create_app(settings)
    async with open_container(settings) as container:
        await container.tenants.create("demo", "Demo", tenant_id=1, signup=OPEN)
        app.state.container = container
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://auth") as http:
            assert (await http.get("/readyz")).status_code == 200
            assert "rabbitmq" in (await http.get("/healthz")).text
            asked = await http.post(REQUEST, json={"email": "user@example.com"}, headers={"X-Tenant-ID": "1"})
            assert asked.status_code == 202
