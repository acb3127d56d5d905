"""Redis and RabbitMQ from the machine: found, else installed with apt when that is possible, else named exactly."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docuchat_local.errors import MissingPackages

_SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
_APT_TIMEOUT_SECONDS = 900
_LOCK = Path("/run/docuchat-packages.lock")
_OTHERS_SECONDS = 600
"""How long apt waits for other programs of the machine that install something."""
_STARTERS = ("systemctl", "invoke-rc.d", "start-stop-daemon", "deb-systemd-invoke", "deb-systemd-helper", "update-rc.d")
# Debian's wrapper around RabbitMQ changes the user; the program that it calls does not
_RABBITMQ_PROGRAMS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",
)


@dataclass(frozen=True, slots=True)
class ServerPrograms:
    """Where the server programs are."""

    redis: Path
    rabbitmq: Path
    epmd: Path


def find_programs(which: Callable[[str], str | None] | None = None) -> ServerPrograms | list[str]:
    """Return the programs, or the names of the Debian packages that are missing."""
    look = which or _which
    redis = look("redis-server") or look("valkey-server")
    rabbitmq = next((path for path in _RABBITMQ_PROGRAMS if look(path)), None) or look("rabbitmq-server")
    epmd = look("epmd")
    if redis and rabbitmq and epmd:
        return ServerPrograms(Path(redis), Path(rabbitmq), Path(epmd))
    missing = []
    if not redis:
        missing.append("redis-server")
    if not rabbitmq or not epmd:
        missing.append("rabbitmq-server")
    return missing


def ensure_programs(say: Callable[[str], None] = lambda _: None) -> ServerPrograms:
    """Return the programs, installing what is missing where that is allowed; raises MissingPackages otherwise."""
    found = find_programs()
    if isinstance(found, ServerPrograms):
        return found
    if os.geteuid() != 0 or not _which("apt-get"):
        raise MissingPackages(missing_message(found, has_apt=bool(_which("apt-get"))))
    say(f"installing {' and '.join(found)} with apt-get; that can take minutes")
    with _one_at_a_time():
        found = find_programs()  # another process of ours may have installed them meanwhile
        if not isinstance(found, ServerPrograms):
            _install(found)
            found = find_programs()
    if isinstance(found, ServerPrograms):
        return found
    raise MissingPackages(missing_message(found, has_apt=True))


def missing_message(packages: Sequence[str], *, has_apt: bool) -> str:
    """Say what to install, and how."""
    names = " ".join(packages)
    way = (
        f"install them with: sudo apt-get install --no-install-recommends {names}"
        if has_apt
        else f"install {' and '.join(packages)} with your system's package manager, so that they are on the PATH"
    )
    return (
        f"{' and '.join(packages)} not found; {way}; or set BACKING=external with DATABASE_URL, REDIS_URL, RABBITMQ_URL"
    )


def install_commands(packages: Sequence[str], stand_ins: Path) -> list[list[str]]:
    """The commands that install `packages`; nothing that is installed already is upgraded, nothing is started.

    Package scripts start and enable their service through the programs of `_STARTERS`. apt gives them a PATH of its
    own, at whose head the folder `stand_ins` holds programs of those names that do nothing.
    """
    path = os.pathsep.join(
        (str(stand_ins), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    )
    install = ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", "--no-upgrade"]
    options = ["--option", f"DPkg::Path={path}", "--option", f"DPkg::Lock::Timeout={_OTHERS_SECONDS}"]
    return [["apt-get", "update", "--quiet=2"], [*install, *options, *packages]]


def write_stand_ins(folder: Path) -> None:
    """Put programs that do nothing into `folder`, one for each way in which a package script starts its service."""
    folder.chmod(0o755)
    for name in _STARTERS:
        program = folder / name
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of the machine install at a time: apt refuses a second one instead of waiting for the first."""
    descriptor = os.open(_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(packages: Sequence[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    with tempfile.TemporaryDirectory() as folder:
        write_stand_ins(Path(folder))
        for command in install_commands(packages, Path(folder)):
            try:
                subprocess.run(
                    command, check=True, env=environment, capture_output=True, text=True, timeout=_APT_TIMEOUT_SECONDS
                )
            except (subprocess.SubprocessError, OSError) as fault:
                detail = str(getattr(fault, "stderr", "") or fault).strip().splitlines()
                message = missing_message(packages, has_apt=True)
                raise MissingPackages(
                    f"{message} ({' '.join(command[:2])}: {detail[-1] if detail else fault})"
                ) from fault


def _which(name: str) -> str | None:
    return shutil.which(name, path=_SEARCH)
