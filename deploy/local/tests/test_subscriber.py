"""A login for another system at a broker of ours."""

import asyncio
from pathlib import Path

import aio_pika
import pytest
from aiormq.exceptions import ChannelAccessRefused

from docuchat_local.backing import backing_servers
from docuchat_local.errors import LocalError
from docuchat_local.subscribers import make_subscriber


async def test_a_login_is_made_at_the_broker_that_runs(tmp_path: Path) -> None:
    async with backing_servers(tmp_path, fast=True):
        url = await asyncio.to_thread(make_subscriber, tmp_path, "billing", ())
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            await channel.declare_queue("billing.mine", durable=True)
            with pytest.raises(ChannelAccessRefused):
                await channel.declare_queue("usage.mine", durable=True)


def test_without_a_broker_it_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="make run"):
        make_subscriber(tmp_path, "billing", ())
