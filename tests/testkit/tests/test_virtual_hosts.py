"""Virtual hosts are made and removed in a broker of our own, whichever program asks it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import pytest
from aio_pika.exceptions import AMQPError

from docuchat_common.messaging.topology import SERVICES
from docuchat_setup.errors import SetupError
from docuchat_setup.logins import login_url
from docuchat_testkit.identity import SERVICE_PASSWORD
from docuchat_testkit.servers import TestServers
from docuchat_testkit.virtual_hosts import ControlledVirtualHosts


async def test_virtual_hosts_are_made_with_all_logins_and_removed_by_either_program(
    breakable_servers: TestServers,
) -> None:
    hosts = breakable_servers.virtual_hosts
    assert hosts is not None
    for way in [hosts, replace(hosts, erl_call=None)] if isinstance(hosts, ControlledVirtualHosts) else [hosts]:
        names = [f"made-{uuid.uuid4().hex[:10]}" for _ in range(2)]
        urls = [urlunsplit(urlsplit(breakable_servers.rabbitmq_url)._replace(path=f"/{name}")) for name in names]
        way.add(names)
        for url in urls:
            for address in (url, *(login_url(url, service, SERVICE_PASSWORD) for service in SERVICES)):
                await (await aio_pika.connect(address)).close()
        way.remove(names)
        for url in urls:
            with pytest.raises(AMQPError):
                await aio_pika.connect(url)
        with pytest.raises(SetupError):
            way.define({"permissions": [{"user": "nobody", "vhost": "/", "configure": "(", "write": "", "read": ""}]})
