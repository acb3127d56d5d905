"""The broker's logins: one a service, with rights to publish its own events and to read its own queues.

AMQP cannot make logins, so they go as RabbitMQ's own definitions to its HTTP API, to `rabbitmqctl import_definitions`,
or into a file that the broker loads. https://www.rabbitmq.com/docs/definitions
"""

import asyncio
import base64
import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

import aio_pika
from aio_pika.exceptions import AMQPError

from docuchat_common.messaging.topology import EXCHANGE, SERVICES, login_of, rights_of
from docuchat_setup.errors import SetupError

_SECONDS = 60
_NOTHING = "^$"


def login_definitions(
    passwords: Mapping[str, str], virtual_hosts: Iterable[str], *, administrators: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """RabbitMQ's definitions of the services' logins and their rights in `virtual_hosts`.

    `passwords` has one entry a service; `administrators` are logins with all rights, by name.
    """
    hosts = list(virtual_hosts)
    permissions = [
        {"user": name, "vhost": host, "configure": ".*", "write": ".*", "read": ".*"}
        for host in hosts
        for name in administrators or {}
    ]
    topics = []
    for host in hosts:
        for service in SERVICES:
            rights, who = rights_of(service), {"user": login_of(service), "vhost": host}
            permissions.append({**who, "configure": _NOTHING, "write": rights.write, "read": rights.read})
            topics.append({**who, "exchange": EXCHANGE, "write": rights.publish, "read": _NOTHING})
    users = [hashed_user(name, password, ["administrator"]) for name, password in (administrators or {}).items()]
    users += [hashed_user(login_of(service), passwords[service], []) for service in SERVICES]
    return {
        "users": users,
        "vhosts": [{"name": host} for host in hosts],
        "permissions": permissions,
        "topic_permissions": topics,
    }


def virtual_host_of(url: str) -> str:
    """The virtual host that an AMQP address names."""
    return unquote(urlsplit(url).path.removeprefix("/")) or "/"


def login_url(url: str, service: str, password: str) -> str:
    """The same address with the login of `service`."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(login_of(service))}:{quote(password, safe='')}@{place}"))


async def refused_logins(url: str, passwords: Mapping[str, str]) -> list[str]:
    """The services whose login the broker at `url` refuses."""

    async def is_refused(service: str) -> bool:
        try:
            connection = await aio_pika.connect(login_url(url, service, passwords[service]), timeout=10)
        except AMQPError:
            return True
        except (OSError, TimeoutError) as error:
            place = urlsplit(url).netloc.rpartition("@")[2]
            raise SetupError(f"RabbitMQ at {place} does not answer: {str(error) or type(error).__name__}") from error
        await connection.close()
        return False

    refused = await asyncio.gather(*(is_refused(service) for service in SERVICES))
    return [service for service, no in zip(SERVICES, refused, strict=True) if no]


def import_by_http(management_url: str, definitions: Mapping[str, Any]) -> None:
    """Give `definitions` to the management plugin; the address carries the administrator's login."""
    parts = urlsplit(management_url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], path="/api/definitions"))
    login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
    request = Request(  # noqa: S310 - an address that the operator gave
        address,
        data=json.dumps(definitions).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        },
    )
    try:
        urlopen(request, timeout=_SECONDS).close()  # noqa: S310 - as above
    except (URLError, OSError) as error:
        raise SetupError(f"RabbitMQ's management API at {address} took no logins: {error}") from error


def import_by_control(command: str | list[str], definitions: Mapping[str, Any], **options: Any) -> None:
    """Give `definitions` to `rabbitmqctl`, run by `command` (`docker exec -i broker rabbitmqctl`)."""
    words = shlex.split(command) if isinstance(command, str) else command
    done = subprocess.run(  # noqa: S603 - a program that the operator named
        [*words, "import_definitions"],  # from standard input; 3.10 knows no "-"
        input=json.dumps(definitions),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        **options,
    )
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(words)} import_definitions` failed: {done.stderr.strip() or done.stdout.strip()}")


def hashed_user(name: str, password: str, tags: list[str]) -> dict[str, Any]:
    """A user with its password hashed as RabbitMQ does: base64(salt + SHA-256(salt + password))."""
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    }
