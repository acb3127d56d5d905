"""Looking at a product from outside: does it answer, where does it run, which code did it send?"""

import http.client
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docuchat_local.errors import ServerFailed

_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2
_CODE = re.compile(r"""["']?\bcode["']?\s*[=:]\s*["']?(?:\x1b\[[0-9;]*m)*["']?(\d{6})\b""")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class FoundProduct:
    """A product that another supervisor runs."""

    gateway_url: str
    auth_log: Path


def find_running(folder: Path) -> FoundProduct | None:
    """Return the product that runs from `folder` and is ready, if there is one."""
    with suppress(OSError, ValueError, KeyError):
        run = json.loads((folder / "run.json").read_text())
        found = FoundProduct(run["gateway_url"], Path(run["auth_log"]))
        is_of_here = found.auth_log.is_relative_to(folder.resolve())  # a copied folder has the original's file
        if is_of_here and http_status(f"{found.gateway_url}/readyz") == http.HTTPStatus.OK:
            return found
    return None


def http_status(url: str) -> int | None:
    """The status of a GET, None when nobody answers."""
    place, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def find_codes(text: str) -> list[str]:
    """Return the sign-in codes in a piece of auth's log, oldest first."""
    return [match.group(1) for match in _CODE.finditer(_ANSI.sub("", text))]


def wait_for_code(log: Path, since: int, seconds: float = 60) -> str:
    """Return the newest code written to `log` after byte `since`, waiting for one; raises ServerFailed."""
    deadline = time.monotonic() + seconds
    while True:
        with log.open("rb") as file:
            file.seek(since)
            codes = find_codes(file.read().decode(errors="replace"))
        if codes:
            return codes[-1]
        if time.monotonic() > deadline:
            raise ServerFailed(f"no sign-in code appeared in {log} within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
