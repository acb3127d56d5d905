"""What the supervisor writes to the terminal: its own lines, and the services' logs with their names before them."""

import os
import re
import sys
import threading
from pathlib import Path

from docuchat_local.probes import find_codes

_POLL_SECONDS = 0.1
_NAME_WIDTH = 13
_COLOURS = {"gateway": 36, "auth": 35, "chat": 32, "usage": 33, "ingest-worker": 34}
_BOLD = 1
# the files keep every line whole; the terminal leaves out what only a machine needs, and requests that went well
_MACHINE_FIELDS = re.compile(r" (?:event_id|request_id|trace_id|service|queue)=\S+")
_OTHER_CODES = {" for=verify": "code that proves an address", " for=reset": "code for a new password"}
_ROUTINE = re.compile(r" http\.request .* status=[123]\d\d\b")


class Terminal:
    """Writes whole lines, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def say(self, text: str = "") -> None:
        """A line of the supervisor's own."""
        for line in text.splitlines() or [""]:
            self.write(line)

    def line_of(self, name: str, line: str) -> None:
        """One line of a service's log, as a person wants to read it."""
        if _ROUTINE.search(line):
            return
        line = _MACHINE_FIELDS.sub("", line)
        base = name if name in _COLOURS else name.rpartition("-")[0]
        self.write(f"{self.paint(f'{name:<{_NAME_WIDTH}}', _COLOURS.get(base, 37))} | {line}")

    def paint(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def bold(self, text: str) -> str:
        return self.paint(text, _BOLD)

    def write(self, line: str) -> None:
        """One line."""
        self.write_part(f"{line}\n")

    def write_part(self, text: str) -> None:
        """A piece of a line, shown at once."""
        with self._lock:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                # nobody reads any more; go on serving
                sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the rest of the process


class LogFollower:
    """Copies log files to the terminal as they grow, in one thread."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._files: dict[str, Path] = {}
        self._offsets: dict[str, int] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)

    def follow(self, name: str, path: Path) -> None:
        """Begin behind what is in the file now."""
        self._offsets[name] = path.stat().st_size
        self._files[name] = path
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        """Copy what is there and end."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        for name, path in list(self._files.items()):
            try:
                with path.open("rb") as file:
                    if path.stat().st_size < self._offsets[name]:  # it was rotated
                        self._offsets[name] = 0
                    file.seek(self._offsets[name])
                    # an unfinished line waits for its end
                    whole = file.read().rpartition(b"\n")[0]
            except OSError:
                continue
            if not whole:
                continue
            self._offsets[name] += len(whole) + 1
            for line in whole.decode(errors="replace").split("\n"):
                self._terminal.line_of(name, line)
                if name == "auth":
                    for code in find_codes(line):
                        kind = next((name for mark, name in _OTHER_CODES.items() if mark in line), "sign-in code")
                        self._terminal.write(self._terminal.bold(f"==> {kind}: {code}"))
