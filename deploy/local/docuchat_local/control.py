"""How another command reaches the supervisor that runs: a Unix socket in its folder, which only its owner can open.

A request is a line of JSON, the answer are lines of JSON: `{"said": …}` as it goes on, then `{"done": true}` or
`{"failed": …}`.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from docuchat_local.errors import LocalError

_SOCKET = "control"
_BACKLOG = 8

Restart = Callable[[Sequence[str], Callable[[str], None]], None]
"""Restarts the named services, all when none is named, and tells how it goes on."""


@contextmanager
def obeyed_requests(folder: Path, restart: Restart) -> Iterator[None]:
    """Do what other commands ask for, one after the other, in a thread, until the block is left."""
    with socket.socket(socket.AF_UNIX) as listener, _short_path(folder) as path:
        (folder / _SOCKET).unlink(missing_ok=True)
        listener.bind(path)
        (folder / _SOCKET).chmod(0o600)
        listener.listen(_BACKLOG)
        threading.Thread(target=_serve, args=(listener, restart), name="control", daemon=True).start()
        try:
            yield
        finally:
            (folder / _SOCKET).unlink(missing_ok=True)
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # ends the thread's wait


def request_restart(folder: Path, services: Sequence[str], say: Callable[[str], None]) -> None:
    """Have the running supervisor restart services; raises LocalError when there is none, or with its reason."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with _short_path(folder) as path:
                connection.connect(path)
        except OSError as fault:
            raise LocalError(f"no product runs from {folder}; `make run` starts one") from fault
        with connection.makefile("rw") as stream:
            _tell(stream, restart=list(services))
            for line in stream:
                answer = json.loads(line)
                if "said" in answer:
                    say(answer["said"])
                elif "failed" in answer:
                    raise LocalError(answer["failed"])
                else:
                    return
    raise LocalError("the product was stopped meanwhile")


def _serve(listener: socket.socket, restart: Restart) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # closed
        with suppress(OSError, ValueError, KeyError), connection, connection.makefile("rw") as stream:
            services = json.loads(stream.readline())["restart"]
            try:
                restart(services, lambda text: _tell(stream, said=text))
            except LocalError as fault:
                _tell(stream, failed=str(fault))
            else:
                _tell(stream, done=True)


def _tell(stream: IO[str], **fields: object) -> None:
    stream.write(json.dumps(fields) + "\n")
    stream.flush()


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """The socket's path by the number of the opened folder: a path of a Unix socket has at most 107 bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)
