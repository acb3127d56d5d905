"""Child processes of the local product, held by the warden (see `warden.py`)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from docuchat_local.errors import AlreadyRunning, BadEnvironment, ServerFailed
from docuchat_local.warden import descendants

_WARDEN = Path(__file__).with_name("warden.py")
_ANSWER_SECONDS = 30
_CLOSE_SECONDS = 60
_GONE = frozenset({"", "Z", "X"})
"""States of a process that has ended, as the kernel shows them."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system user to run as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run. Processes of a higher stage are stopped before those of a lower one."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    stage: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    account: Account | None = None
    listener: str | None = None
    """Name of the socket (see `Warden.listen`) that it accepts connections on."""


@dataclass(slots=True)
class Process:
    """One running program; `start` again after it has ended."""

    spec: ProcessSpec
    _warden: "Warden"
    pid: int | None = None
    exit_code: int | None = None
    on_exit: Callable[[], None] | None = None
    _failure: str | None = None
    _answered: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_running(self) -> bool:
        return self.pid is not None and not self._ended.is_set()

    def start(self) -> None:
        """Start the program; returns once it has been forked, not once it serves."""
        if self.is_running:
            return
        self._answered.clear()
        self._ended.clear()
        self.pid = self.exit_code = self._failure = None
        account = self.spec.account
        self._warden.send(
            {
                "do": "start",
                "key": self.spec.name,
                "argv": [str(part) for part in self.spec.argv],
                "env": dict(self.spec.environment),
                "cwd": str(self.spec.folder),
                "log": str(self.spec.log),
                "user": [account.uid, account.gid] if account else None,
                "stop_signal": int(self.spec.stop_signal),
                "stage": self.spec.stage,
                "grace_seconds": self.spec.grace_seconds,
                "listener": self.spec.listener,
            }
        )
        if not self._answered.wait(_ANSWER_SECONDS):
            raise ServerFailed(f"{self.spec.name}: no answer from the warden")
        if self._failure:
            raise ServerFailed(f"{self.spec.name} could not be started: {self._failure}")

    def send_signal(self, number: signal.Signals, *, tree: bool = False) -> None:
        """Send a signal to the program, or to it and all its descendants."""
        if self.is_running:
            self._warden.send({"do": "signal", "key": self.spec.name, "signal": int(number), "tree": tree})

    def freeze(self) -> None:
        """Stop it and its descendants from answering, with connections open (SIGSTOP); returns when it has happened."""
        self.send_signal(signal.SIGSTOP, tree=True)
        while (pid := self.pid) is not None and not all(map(_has_stopped, (pid, *descendants(pid)))):
            time.sleep(0.01)
            self.send_signal(signal.SIGSTOP, tree=True)  # also what was started while the others were told

    def thaw(self) -> None:
        """Let them go on after `freeze`."""
        self.send_signal(signal.SIGCONT, tree=True)

    def wait(self, seconds: float) -> bool:
        """Wait for the end; False when it is still running after `seconds`."""
        return self.pid is None or self._ended.wait(seconds)

    def stop(self) -> None:
        """End it in order; with SIGKILL when it takes longer than its grace."""
        self.send_signal(self.spec.stop_signal)
        if not self.wait(self.spec.grace_seconds):
            self.kill()

    def kill(self) -> None:
        """SIGKILL the program and all its descendants, and wait until all are gone.

        PostgreSQL starts again only when none of its backends is left, and on a busy machine they outlive it.
        """
        self.freeze()  # who cannot start anything any more has no family but this
        family = descendants(self.pid) if self.pid is not None and self.is_running else []
        self.send_signal(signal.SIGKILL, tree=True)
        gives_up_at = time.monotonic() + _ANSWER_SECONDS
        if not self.wait(_ANSWER_SECONDS):
            raise ServerFailed(f"{self.spec.name} did not end after SIGKILL")
        while not all(map(_is_gone, family)):
            if time.monotonic() > gives_up_at:
                raise ServerFailed(f"what {self.spec.name} had started did not end after SIGKILL")
            time.sleep(0.01)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        with suppress(OSError):
            return "\n".join(self.spec.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def give_up(self) -> None:
        """Nobody will report its end any more."""
        self._failure = self._failure or "the warden is gone"
        self._answered.set()
        self._ended.set()

    def take_report(self, report: dict[str, Any]) -> None:
        """Note what the warden reports; called from its reader thread."""
        if report["event"] == "started":
            self.pid = report["pid"]
            self._answered.set()
        elif report["event"] == "failed":
            self._failure = report["reason"]
            self._answered.set()
        elif report["event"] == "exited" and report["pid"] == self.pid:
            self.exit_code = report["code"]
            self._ended.set()
            if self.on_exit:
                self.on_exit()


class Warden:
    """Handle on the warden; leaving the context stops every process, in order and within bounded time."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._processes: dict[str, Process] = {}
        self._sending = threading.Lock()
        self._popen: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._closing = False
        self._listening: dict[str, int] = {}
        self._heard = threading.Event()
        self._refusal: str | None = None
        self.on_lost: Callable[[], None] | None = None
        """Called when the warden was killed: the kernel then ends every process that it held."""

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WARDEN), str(self._lock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        assert self._popen.stdout is not None
        greeting = json.loads(self._popen.stdout.readline() or '{"event": "died"}')
        if greeting["event"] != "ready":
            self._popen.wait()
            self._close_pipes()
            if greeting["event"] == "locked":
                raise AlreadyRunning(f"{self._lock.parent} is in use by process {greeting['holder'] or 'unknown'}")
            raise ServerFailed("the warden did not start")
        self._reader = threading.Thread(target=self._read_reports, name="warden-reports", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._popen is not None
        self.begin_stop()
        try:
            self._popen.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()  # the kernel then signals its children
            self._popen.wait()
        if self._reader:
            self._reader.join(_ANSWER_SECONDS)
        self._close_pipes()

    def begin_stop(self) -> None:
        """Have every process stopped, and none started any more, without waiting for it."""
        self._closing = True
        with suppress(ServerFailed):
            self.send({"do": "close"})

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def listen(self, name: str, host: str, port: int) -> int | None:
        """Listen on a port (0: any) for the processes that name this socket; the port, None when it is taken.

        Raises BadEnvironment when it could not be listened on, were it free.
        """
        self._heard.clear()
        self._refusal = None
        self.send({"do": "listen", "key": name, "host": host, "port": port})
        if not self._heard.wait(_ANSWER_SECONDS):
            raise ServerFailed("no answer from the warden")
        if self._refusal:
            raise BadEnvironment(f"{name} cannot listen on {host}, port {port}: {self._refusal}")
        return self._listening.get(name)

    def add(self, spec: ProcessSpec) -> Process:
        """Make a process known, not yet started."""
        process = Process(spec, self)
        self._processes[spec.name] = process
        return process

    def send(self, request: dict[str, Any]) -> None:
        """Send one request; raises ServerFailed when the warden is gone."""
        assert self._popen is not None
        assert self._popen.stdin is not None
        try:
            with self._sending:
                self._popen.stdin.write(json.dumps(request) + "\n")
                self._popen.stdin.flush()
        except (BrokenPipeError, ValueError) as fault:
            raise ServerFailed("the warden is gone") from fault

    def _read_reports(self) -> None:
        assert self._popen is not None
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            report = json.loads(line)
            if report["event"] in {"listening", "refused"}:
                if report["event"] == "listening":
                    self._listening[report["key"]] = report["port"]
                elif not report["taken"]:
                    self._refusal = report["reason"]
                self._heard.set()
                continue
            process = self._processes.get(report.get("key", ""))
            if process is not None:
                process.take_report(report)
        was_lost, self._closing = not self._closing, True
        for process in list(self._processes.values()):
            process.give_up()
        if was_lost and self.on_lost:
            self.on_lost()

    def _close_pipes(self) -> None:
        assert self._popen is not None
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()


def _has_stopped(pid: int) -> bool:
    """Whether a process took its SIGSTOP, or is gone."""
    return _state(pid) in _GONE | {"T"}


def _is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has heard of it."""
    return _state(pid) in _GONE


def _state(pid: int) -> str:
    """The state that the kernel shows of a process; nothing when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
