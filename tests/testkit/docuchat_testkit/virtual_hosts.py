"""Virtual hosts of a test session's broker, a fresh one for each test that asks."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2

from docuchat_common.messaging.topology import SERVICES
from docuchat_setup.errors import SetupError
from docuchat_setup.logins import import_by_http, login_definitions
from docuchat_testkit.identity import SERVICE_PASSWORD

_COMMAND_SECONDS = 60


class VirtualHosts(Protocol):
    """Makes and removes virtual hosts, with the services' logins, and all rights for the user of the broker's URL."""

    def add(self, names: list[str]) -> None: ...

    def define(self, definitions: Mapping[str, Any]) -> None:
        """Give the broker definitions of logins and rights."""

    def remove(self, names: list[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class ManagedVirtualHosts:
    """Through RabbitMQ's management HTTP API."""

    management_url: str
    user: str
    password: str

    def add(self, names: list[str]) -> None:
        self.define(test_logins(names, self.user, self.password))

    def define(self, definitions: Mapping[str, Any]) -> None:
        parts = urlsplit(self.management_url)
        login = f"{quote(self.user)}:{quote(self.password)}@{parts.netloc}"
        import_by_http(urlunsplit(parts._replace(netloc=login)), definitions)

    def remove(self, names: list[str]) -> None:
        with httpx2.Client(base_url=self.management_url, auth=(self.user, self.password), timeout=30) as http:
            for name in names:
                http.delete(f"/api/vhosts/{quote(name, safe='')}")


@cache
def find_erl_call() -> Path | None:
    """Where Erlang keeps `erl_call`: beside its own program."""
    erlang = shutil.which("erl")
    beside = Path(erlang).resolve().with_name("erl_call") if erlang else None
    return beside if beside and beside.exists() else None


@dataclass(frozen=True, slots=True)
class ControlledVirtualHosts:
    """In the node itself, by its own environment and account.

    Erlang's `erl_call` asks in 20 ms of computing time. `rabbitmqctl`, which starts an Erlang of its own, takes 0.9 s,
    and is used where the other is not there.
    """

    program: str
    environment: Mapping[str, str]
    user: str
    password: str
    account: tuple[int, int] | None
    erl_call: Path | None = field(default_factory=find_erl_call)

    def add(self, names: list[str]) -> None:
        self.define(test_logins(names, self.user, self.password))

    def define(self, definitions: Mapping[str, Any]) -> None:
        text = json.dumps(definitions).replace("\\", "\\\\").replace('"', '\\"')
        self._evaluate(f'ok = rabbit_definitions:import_raw(<<"{text}">>)')

    def remove(self, names: list[str]) -> None:
        hosts = ", ".join(f'<<"{name}">>' for name in names)  # one call for all of them
        self._evaluate(f'[rabbit_vhost:delete(Host, <<"tests">>) || Host <- [{hosts}]]')

    def _evaluate(self, expression: str) -> None:
        """Evaluate an Erlang expression in the node. Raises SetupError with what the node said when that fails."""
        expression = f"{expression}, evaluated.\n"
        by_call = [str(self.erl_call), "-sname", self.environment["RABBITMQ_NODENAME"], "-e"]
        done = subprocess.run(
            by_call if self.erl_call else [self.program, "eval", expression],
            input=expression if self.erl_call else None,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
            **self._as_node(),
        )
        if done.returncode != 0 or "evaluated" not in done.stdout:
            raise SetupError(f"The broker did not do what a test asked: {(done.stdout + done.stderr)[-500:]}")

    def _as_node(self) -> dict[str, Any]:
        user, group = self.account or (None, None)
        return {"env": dict(self.environment), "cwd": "/", "user": user, "group": group}


def test_logins(virtual_hosts: list[str], user: str, password: str) -> dict[str, Any]:
    """The services' logins, with the password that all tests know, and the administrator's rights."""
    passwords = dict.fromkeys(SERVICES, SERVICE_PASSWORD)
    return login_definitions(passwords, virtual_hosts, administrators={user: password})


@dataclass(frozen=True, slots=True)
class RemoteVirtualHosts:
    """Asks the process that holds the servers, over its Unix socket: it alone knows the broker's cookie."""

    path: str

    def add(self, names: list[str]) -> None:
        self._ask("add", names)

    def define(self, definitions: Mapping[str, Any]) -> None:
        self._ask("define", [base64.b64encode(json.dumps(definitions).encode()).decode()])

    def remove(self, names: list[str]) -> None:
        self._ask("remove", names)

    def _ask(self, wish: str, names: list[str]) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_COMMAND_SECONDS)
            connection.connect(self.path)
            connection.sendall(f"{' '.join((wish, *names))}\n".encode())
            answer = connection.makefile().readline().strip()
        if answer != "ok":
            raise RuntimeError(f"{wish} virtual hosts: {answer}")


def serve_virtual_hosts(path: Path, hosts: VirtualHosts) -> None:
    """Do at a Unix socket what `RemoteVirtualHosts` asks for, while this process lives."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                wish, *names = connection.makefile().readline().split()
                try:
                    if wish == "define":
                        hosts.define(json.loads(base64.b64decode(names[0])))
                    else:
                        (hosts.add if wish == "add" else hosts.remove)(names)
                    connection.sendall(b"ok\n")
                except (SetupError, subprocess.SubprocessError) as error:
                    connection.sendall(f"{str(error).splitlines()[0]}\n".encode())

    threading.Thread(target=serve, daemon=True).start()
