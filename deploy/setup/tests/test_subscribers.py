"""A login for another system: what it may do, and that docs/events.md works as printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused
from typer.testing import CliRunner

from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.messaging.topology import EXCHANGE, USAGE_STREAM, queues_of
from docuchat_setup.cli import app
from docuchat_setup.errors import SetupError
from docuchat_setup.subscribers import new_subscriber
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.servers import TestServers
from docuchat_testkit.vocabulary import repository_root

NewLogin = Callable[..., str]
PAGE = repository_root() / "docs" / "events.md"


@pytest.fixture
def new_login(servers: TestServers, rabbitmq: TestBroker) -> NewLogin:
    """Makes a subscriber's login at a broker where everything is declared."""
    rabbitmq.declare(stream=True)

    def make(name: str, *types: str) -> str:
        url, definitions = new_subscriber(rabbitmq.admin_url, name, types)
        assert servers.virtual_hosts is not None
        servers.virtual_hosts.define(definitions)
        return url

    return make


async def is_refused(connection: aio_pika.abc.AbstractConnection, attempt: Callable[[Any], Awaitable[Any]]) -> bool:
    async with connection.channel() as channel:
        await channel.set_qos(prefetch_count=1)
        try:
            await attempt(channel)
        except ChannelAccessRefused:
            return True
        return False


async def test_a_subscriber_reads_what_it_may_into_its_own_queues_and_publishes_nothing(new_login: NewLogin) -> None:
    async def ignore(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await message.nack()

    async def bind(channel: Any, key: str) -> None:
        await (await channel.declare_queue("billing.mine", durable=True)).bind(EXCHANGE, key)

    async def read(channel: Any, queue: str) -> None:
        await (await channel.get_queue(queue, ensure=False)).consume(ignore)

    async def publish(channel: Any, exchange: str, key: str) -> None:
        place = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await place.publish(aio_pika.Message(b"{}"), key)

    queue = queues_of("usage")[0].name
    some, every = new_login("billing", UsageRecorded.type), new_login("billing-2")
    async with await aio_pika.connect(some) as connection:
        assert not await is_refused(connection, lambda channel: bind(channel, UsageRecorded.type))
        assert not await is_refused(connection, lambda channel: read(channel, "billing.mine"))
        for wrong in (
            lambda channel: bind(channel, "#"),
            lambda channel: bind(channel, "document.ready.v1"),
            lambda channel: read(channel, USAGE_STREAM),
            lambda channel: read(channel, queue),
            lambda channel: channel.declare_queue("billings", durable=True),
            lambda channel: channel.declare_queue("billing-2.mine", durable=True),
            lambda channel: channel.queue_delete(queue),
            lambda channel: channel.queue_delete(USAGE_STREAM),
            lambda channel: publish(channel, EXCHANGE, UsageRecorded.type),
            lambda channel: publish(channel, "", queue),
        ):
            assert await is_refused(connection, wrong)
    async with await aio_pika.connect(every) as connection:
        assert not await is_refused(connection, lambda channel: read(channel, USAGE_STREAM))


@pytest.mark.parametrize("name", ["", "x", "usage", "Billing", "a b", "billing.", "-a", "a" * 41])
def test_a_name_that_could_be_anothers_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="cannot be a subscriber's name"):
        new_subscriber("amqp://broker/", name, ())


def test_the_command_prints_the_address_once_and_gives_the_broker_a_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told.json"
    environment = {
        "RABBITMQ_ADMIN_URL": "amqp://admin:secret@broker:5673/here",
        "RABBITMQ_CONTROL": f"tee {told}",
        "RABBITMQ_MANAGEMENT_URL": None,
    }
    monkeypatch.chdir(tmp_path)  # tee writes a file of the command's name too
    some = "usage.recorded.v1, quota.exceeded.v1"
    done = CliRunner().invoke(app, ["subscriber", "--name", "billing", "--types", some], env=environment)
    unknown = CliRunner().invoke(app, ["subscriber", "--name", "x1", "--types", "usage.v1"], env=environment)

    url = urlsplit(done.stdout.strip())
    assert (done.exit_code, url.username, url.hostname, url.port, url.path) == (
        0, "subscriber_billing", "broker", 5673, "/here",
    )  # fmt: skip
    assert url.password and url.password not in told.read_text()
    assert json.loads(told.read_text())["users"][0]["name"] == "subscriber_billing"
    assert (unknown.exit_code, "there is no event usage.v1" in unknown.stderr) == (1, True)


@asynccontextmanager
async def running(program: str, url: str, folder: Path) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """A program of the page; gives a function that reads its next line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=folder, env={"EVENTS_URL": url, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    output = process.stdout

    async def line() -> str:
        return (await asyncio.wait_for(output.readline(), 60)).decode()

    try:
        yield line
    finally:
        process.terminate()
        await process.wait()


async def test_the_consumers_of_the_page_work_as_printed(
    new_login: NewLogin, rabbitmq: TestBroker, tmp_path: Path
) -> None:
    follow, replay = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    url = new_login("billing")
    events = [
        UsageRecorded(
            tenant_id=number, kind="chat", provider="openai", model="m", input_tokens=1, output_tokens=1,
            estimated=False,
        )
        for number in range(1, 5)
    ]  # fmt: skip

    async with await aio_pika.connect(rabbitmq.url("chat")) as connection, connection.channel() as channel:
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)

        async def publish(event: UsageRecorded) -> None:
            message = aio_pika.Message(event.to_cloudevent("chat"), user_id="docuchat_chat")
            await exchange.publish(message, event.type)

        await publish(events[0])
        async with running(replay, url, tmp_path) as line:
            assert f"0 usage.recorded.v1 1 {events[0].id}" in await line()
            await publish(events[1])
            assert f"1 usage.recorded.v1 2 {events[1].id}" in await line()
        async with running(replay, url, tmp_path) as line:  # goes on behind what it has done, or does the last again
            await publish(events[2])
            got = await line()
            assert f"{events[2].id}" in (got if str(events[1].id) not in got else await line())

        async with await aio_pika.connect(url) as own, own.channel() as mine:
            queue = await mine.declare_queue(
                "billing.events", durable=True,
                arguments={"x-queue-type": "quorum", "x-max-length": 1_000_000, "x-overflow": "drop-head"},
            )  # fmt: skip
            await queue.bind(EXCHANGE, UsageRecorded.type)
            await publish(events[3])
        async with running(follow, url, tmp_path) as line:
            assert f"usage.recorded.v1 4 {events[3].id}" in await line()
