"""The unprivileged account that the servers run as when the supervisor is root.

PostgreSQL refuses to run as root, and neither Redis nor RabbitMQ has a reason to. The account must be able to reach the
data folder and PostgreSQL's programs; below a folder that only root may enter (such as /root) it cannot, so both then
move to a folder under /var/tmp.
"""

import hashlib
import os
import pwd
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from docuchat_local.environment import ROOT
from docuchat_local.errors import SetupFailed
from docuchat_local.processes import Account

_CANDIDATES = ("nobody", "daemon")
_SOURCE = "source"
_DATA_ID = "data-id"
_ABANDONED_SECONDS = 24 * 3600
_FALLBACK = Path("/var/tmp")  # noqa: S108 - a folder of our own is made in it, and its owner is checked


def server_account() -> Account | None:
    """Return the account to run servers as; None when this process is not root and runs them as itself."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise SetupFailed(f"running as root needs one of the system users {', '.join(_CANDIDATES)} to run PostgreSQL as")


def service_account(folder: Path, say: Callable[[str], None]) -> Account | None:
    """Return the account to run the services as; None when they run as this process does.

    As root they run as an ordinary user, so that neither the gateway nor the reader of strangers' PDFs has root's
    power. That user must reach Python, the checkout and `folder`; where it cannot, the terminal is told.
    """
    account = server_account()
    if account is None:
        return None
    needed = (Path(sys.executable).resolve(), Path(sys.prefix) / "bin" / "python", ROOT / "libs", folder / "logs")
    beyond = [path for path in needed if not can_reach(path, account)]
    if not beyond:
        return account
    say(
        f"the services run as root, because {account.name} cannot reach {beyond[0].parent}; "
        "start as an ordinary user, or put the checkout and Python where all may read them"
    )
    return None


def can_reach(path: Path, account: Account) -> bool:
    """Whether `account`, by the permission bits, may enter every folder down to `path`."""
    for folder in path.resolve().parents:
        status = folder.stat()
        if status.st_uid == account.uid:
            bit = 0o100
        elif status.st_gid == account.gid:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return False
    return True


def place_of(folder: Path, account: Account | None) -> Path:
    """Where the servers' data are: in `folder` itself, or in its stand-in when `account` cannot reach it."""
    return folder if account is None or can_reach(folder, account) else stand_in_of(folder)


def server_folder(folder: Path, account: Account | None) -> Path:
    """Return `place_of` the servers' data, made."""
    if account is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
    if not can_reach(folder, account):
        folder = _stand_in(folder)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    return folder


def claim_folder(folder: Path, data_id: str, account: Account | None) -> Path:
    """Return `server_folder`, made sure to hold data of this `data_id` or none.

    Data made with other passwords would refuse ours. A stand-in may have outlived its folder (a deleted and cloned
    checkout) and is emptied; data at their own place are left alone, and SetupFailed says what to do.
    """
    _bring_along(folder, data_id, account)
    if account is not None:
        sweep()
    place = server_folder(folder, account)
    mark = place / _DATA_ID
    if mark.exists() and mark.read_text() != data_id:
        if place == folder:
            raise SetupFailed(f"the data in {folder} were made with other secrets; run `make clean` to begin anew")
        remove_stand_in(folder)
        place = server_folder(folder, account)
    mark.write_text(data_id)
    return place


def _bring_along(folder: Path, data_id: str, account: Account | None) -> None:
    """Fetch the data of a folder that was moved: from the stand-in of its old path, or from itself into a stand-in."""
    place = place_of(folder, account)
    for other in (folder, *(stand_in for stand_in, source in _stand_ins() if not source.exists())):
        mark = other / _DATA_ID
        if not place.exists() and mark.is_file() and mark.read_text() == data_id:
            shutil.move(other, place)


def own_folder(folder: Path, account: Account | None) -> Path:
    """Make `folder` exist, private to `account`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if account is not None and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
        for path in folder.rglob("*"):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return folder


def reachable_programs(programs: Path, libraries: Path, account: Account | None) -> Path:
    """Return `programs`, or a copy of that tree that `account` can reach.

    The programs find `libraries` by a path relative to their own: both are two folders apart, in the copy as well.
    """
    if account is None or can_reach(programs / "bin" / "postgres", account):
        return programs
    stand_in = _stand_in(programs)
    stand_in.chmod(0o755)
    copy = stand_in / programs.parent.name / programs.name
    if not (stand_in / "complete").exists():
        for source, target in ((programs, copy), (libraries, stand_in / libraries.name)):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, symlinks=True)
        (stand_in / "complete").touch()
    return copy


def remove_stand_in(folder: Path) -> None:
    """Remove what `server_folder` put elsewhere for `folder`."""
    shutil.rmtree(stand_in_of(folder), ignore_errors=True)


def stand_in_of(path: Path) -> Path:
    """Where the stand-in for `path` is, or would be."""
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    return _FALLBACK / f"docuchat-{os.geteuid()}-{digest}"


def _stand_in(path: Path) -> Path:
    """Make the stand-in for `path`."""
    stand_in = stand_in_of(path)
    stand_in.mkdir(exist_ok=True, mode=0o711)
    if stand_in.is_symlink() or stand_in.stat().st_uid != os.geteuid():
        raise SetupFailed(f"{stand_in} belongs to somebody else; remove it")
    (stand_in / _SOURCE).write_text(str(path.resolve().parent))
    return stand_in


def sweep(below: Path | None = None) -> None:
    """Remove our stand-ins whose folder is no more, and all `below` a folder; in use none is.

    Data wait for a day after they were claimed last: their folder may have been moved, and fetches them at its start.
    """
    below = below and below.resolve()
    over = [
        stand_in
        for stand_in, source in _stand_ins()
        if (below and source.is_relative_to(below)) or not (source.exists() or _is_fresh(stand_in))
    ]
    used = _places_in_use() if over else set()
    for stand_in in over:
        if not any(place.is_relative_to(stand_in) for place in used):
            shutil.rmtree(stand_in, ignore_errors=True)


def _stand_ins() -> Iterator[tuple[Path, Path]]:
    """Our stand-ins, and in which folder that is what each stands for."""
    for other in _FALLBACK.glob(f"docuchat-{os.geteuid()}-*"):
        with suppress(OSError):
            if other.lstat().st_uid == os.geteuid():
                yield other, Path((other / _SOURCE).read_text())


def _is_fresh(stand_in: Path) -> bool:
    mark = stand_in / _DATA_ID
    return mark.exists() and time.time() - mark.stat().st_mtime < _ABANDONED_SECONDS


def _places_in_use() -> set[Path]:
    """Where processes run, and which programs."""
    places = set()
    for link in (*Path("/proc").glob("[0-9]*/cwd"), *Path("/proc").glob("[0-9]*/exe")):
        with suppress(OSError):
            places.add(link.readlink())
    return places
