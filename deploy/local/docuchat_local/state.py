"""What the local product remembers between starts: ports, secrets, and where a running product answers."""

import json
import os
import random
import secrets
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from docuchat_local.errors import SetupFailed

# below the kernel's range for outgoing connections, so that none of those can sit on a remembered port
_PORT_RANGE = range(20_000, 32_000)
_ATTEMPTS = 200
_SECRET_BYTES = 36


def is_port_free(port: int) -> bool:
    """Whether a server could listen on `port` now, on the loopback address and on all addresses."""
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - only to see whether somebody else listens there
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


_reserved: set[int] = set()


def reserve_port(port: int) -> bool:
    """Keep `port` for this process while it lives, also while nothing listens; False when another process keeps it.

    A server that was killed has to find its port again: without this another product could choose it meanwhile. What
    tells them is the name of an abstract socket, which dies with its process; only Linux has such names.
    """
    if port in _reserved or sys.platform != "linux":
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        try:
            name.bind(f"\0docuchat-port-{port}")
        except OSError:
            return False
        name.detach()  # open until the process ends
    _reserved.add(port)
    return True


def choose_port(taken: set[int]) -> int:
    """Return a free port that is not in `taken`."""
    for _ in range(_ATTEMPTS):
        port = random.choice(_PORT_RANGE)  # noqa: S311 - no secret
        if port not in taken | _reserved and is_port_free(port):
            return port
    raise SetupFailed(f"no free port found between {_PORT_RANGE.start} and {_PORT_RANGE.stop}")


class Ports:
    """Ports by name, chosen once and remembered in a file; chosen again when somebody else has taken one.

    A preferred port is taken whenever it is free, whatever was chosen while it was not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports: dict[str, int] = _read_json(path)

    def claim(self, name: str, preferred: int | None = None) -> int:
        """Return the port of `name`, free at this moment."""
        others = {value for key, value in self._ports.items() if key != name}
        for port in (preferred, self._ports.get(name)):
            if port is not None and port not in others and is_port_free(port) and reserve_port(port):
                break
        else:
            port = choose_port(others)
            while not reserve_port(port):
                port = choose_port(others)
        self.remember(name, port)
        return port

    def find(self, name: str) -> int | None:
        """The port of `name`, as it was chosen last; None when it never was."""
        return self._ports.get(name)

    def remember(self, name: str, port: int) -> None:
        """Keep the port of `name`."""
        self._ports[name] = port
        _write_json(self._path, self._ports)

    def forget(self, name: str) -> None:
        """Have `name` choose again."""
        del self._ports[name]


class Secrets:
    """Generated secrets by name, in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._secrets: dict[str, str] = _read_json(path)
        self._lock = threading.Lock()

    def get(self, name: str) -> str:
        """Return the secret `name`, generating it at the first call."""
        with self._lock:  # servers and database are made ready in threads
            if name not in self._secrets:
                self._secrets[name] = secrets.token_urlsafe(_SECRET_BYTES)
                _write_json(self._path, self._secrets)
            return self._secrets[name]


def _read_json(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, json.JSONDecodeError):
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            return content
    return {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step, readable by its owner only."""
    partial = path.with_suffix(".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
    partial.replace(path)
