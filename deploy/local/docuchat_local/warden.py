"""The warden: starts the local product's processes, and sees to it that none outlives the supervisor.

A program of its own, standard library only, started by path as `python -I -S warden.py <lock file>`. It is the parent
of every server and service, so that whoever dies, somebody is left to clean up:

- the supervisor ends or is killed: its end of the pipe closes (and the parent changes), the warden stops everything;
- the warden is killed: the kernel sends each child its stop signal (PR_SET_PDEATHSIG);
- a process detaches itself: it becomes a child of the warden (PR_SET_CHILD_SUBREAPER) and is killed with the rest.

It also holds the sockets that services listen on: a connection that arrives while a service is restarted waits in the
socket's queue, and several processes of one service share it. A child finds its socket by the number in LISTEN_FD.

Requests are JSON lines on standard input, reports are JSON lines on standard output. The lock on the data folder is
held until the last process is gone, so that a second start cannot meet the remains of the first.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.5
_LOCK_WAIT_SECONDS = 20
_BACKLOG = 2048
_LOCKED_EXIT = 75  # EX_TEMPFAIL

_libc = ctypes.CDLL(None, use_errno=True)


def _report(**fields: Any) -> None:
    try:
        os.write(1, json.dumps(fields).encode() + b"\n")
    except OSError:
        pass  # the supervisor is gone; the loop notices on its own


class _Child:
    def __init__(self, request: dict[str, Any], listener: socket.socket | None) -> None:
        self.key: str = request["key"]
        self.stop_signal: int = request["stop_signal"]
        self.stage: int = request["stage"]
        self.grace_seconds: float = request["grace_seconds"]
        user = request.get("user")
        warden = os.getpid()

        def in_child() -> None:
            # after the change of user, which would clear it
            _libc.prctl(_PR_SET_PDEATHSIG, self.stop_signal)
            if os.getppid() != warden:
                os._exit(1)

        with open(request["log"], "ab", buffering=0) as log:
            self.popen = subprocess.Popen(
                request["argv"],
                env=request["env"] | ({"LISTEN_FD": str(listener.fileno())} if listener else {}),
                pass_fds=[listener.fileno()] if listener else [],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
                umask=0o077,
                preexec_fn=in_child,
            )
        self.pid = self.popen.pid

    def signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def signal_tree(self, number: int) -> None:
        """Signal the process and all its descendants, also those in sessions of their own (PostgreSQL's backends)."""
        tree = descendants(self.pid)
        self.signal(number)
        for pid in tree:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


class _Warden:
    def __init__(self) -> None:
        self.children: dict[int, _Child] = {}
        self.listeners: dict[str, socket.socket] = {}
        self.closing = False
        self.supervisor = os.getppid()

    def run(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._close)
        buffer = b""
        while not self.closing:
            ready, _, _ = select.select([0, wake_read], [], [], _POLL_SECONDS)
            if wake_read in ready:
                os.read(wake_read, 4096)
            self._reap()
            if os.getppid() != self.supervisor:
                break
            if 0 in ready:
                received = os.read(0, 65536)
                if not received:
                    break
                *lines, buffer = (buffer + received).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        self._stop_everything()

    def _close(self, *_: object) -> None:
        self.closing = True

    def _obey(self, request: dict[str, Any]) -> None:
        if request["do"] == "close":
            self.closing = True
        elif request["do"] == "listen":
            self._listen(request)
        elif request["do"] == "start":
            try:
                child = _Child(request, self.listeners.get(request["listener"]))
            except (OSError, subprocess.SubprocessError) as fault:
                _report(event="failed", key=request["key"], reason=str(fault))
                return
            self.children[child.pid] = child
            _report(event="started", key=child.key, pid=child.pid)
        elif request["do"] == "signal":
            for child in self.children.values():
                if child.key == request["key"]:
                    child.signal_tree(request["signal"]) if request["tree"] else child.signal(request["signal"])

    def _listen(self, request: dict[str, Any]) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((request["host"], request["port"]))
            listener.listen(_BACKLOG)
        except OSError as fault:
            listener.close()
            _report(event="refused", key=request["key"], taken=fault.errno == errno.EADDRINUSE, reason=fault.strerror)
        else:
            self.listeners[request["key"]] = listener
            _report(event="listening", key=request["key"], port=listener.getsockname()[1])

    def _reap(self) -> bool:
        """Collect what has ended; False when there is no child left at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            child = self.children.pop(pid, None)
            if child is not None:
                child.popen.returncode = code = os.waitstatus_to_exitcode(status)
                child.signal_group(signal.SIGKILL)  # what it left behind in its own session
                _report(event="exited", key=child.key, pid=pid, code=code)

    def _stop_everything(self) -> None:
        """Stop stage after stage, highest first, each within its grace; then kill what is left of the whole tree."""
        for stage in sorted({child.stage for child in self.children.values()}, reverse=True):
            members = [child for child in self.children.values() if child.stage == stage]
            for child in members:
                child.signal(child.stop_signal)
            deadline = time.monotonic() + max(child.grace_seconds for child in members)
            while time.monotonic() < deadline and any(child.pid in self.children for child in members):
                self._reap()
                time.sleep(0.02)
            for child in members:
                if child.pid in self.children:
                    _report(event="overdue", key=child.key, pid=child.pid)
                    child.signal_tree(signal.SIGKILL)
        while self._reap():
            for pid in descendants(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)


def descendants(root: int) -> list[int]:
    """Every process below `root`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    # pid (name) state ppid ...; the name may hold spaces and brackets
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    level = [root]
    while level:
        level = [child for parent in level for child in children.get(parent, ())]
        found += level
    return found


def _lock(path: str) -> int:
    """Hold the lock file; waits a while for a predecessor that is still stopping its processes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            orphaned = not (holder.isdigit() and os.path.exists(f"/proc/{holder}"))
            if not orphaned or time.monotonic() > deadline:
                _report(event="locked", holder=holder)
                sys.exit(_LOCKED_EXIT)
            time.sleep(0.1)
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getppid()).encode(), 0)
            return descriptor


def main() -> None:
    _lock(sys.argv[1])
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _report(event="ready")
    _Warden().run()


if __name__ == "__main__":
    main()
