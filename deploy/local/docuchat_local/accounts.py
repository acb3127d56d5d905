"""The unprivileged account that the servers run as when the supervisor is root.

PostgreSQL refuses to run as root, and neither Redis nor RabbitMQ has a reason to. The account must be able to reach the
data folder and PostgreSQL's programs; below a folder that only root may enter (such as /root) it cannot, so both then
move to a folder under /var/tmp.
"""

import hashlib
import os
import pwd
import shutil
from pathlib import Path

from docuchat_local.errors import SetupFailed
from docuchat_local.processes import Account

_CANDIDATES = ("nobody", "daemon")
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


def server_folder(folder: Path, account: Account | None) -> Path:
    """Return the folder for the servers' data: `folder` itself, or its stand-in when `account` cannot reach it."""
    if account is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
    if not can_reach(folder, account):
        folder = _stand_in(folder)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    return folder


def own_folder(folder: Path, account: Account | None) -> Path:
    """Make `folder` exist, private to `account`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if account is not None and folder.stat().st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
        for path in folder.rglob("*"):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return folder


def reachable_programs(programs: Path, account: Account | None) -> Path:
    """Return `programs`, or a copy of that tree that `account` can reach."""
    if account is None or can_reach(programs / "bin" / "postgres", account):
        return programs
    copy = _stand_in(programs)
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(programs, copy, symlinks=True)
        copy.chmod(0o755)
        (copy / "complete").touch()
    return copy


def remove_stand_in(folder: Path) -> None:
    """Remove what `server_folder` put elsewhere for `folder`."""
    shutil.rmtree(_stand_in(folder), ignore_errors=True)


def _stand_in(path: Path) -> Path:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    folder = _FALLBACK / f"docuchat-{os.geteuid()}-{digest}"
    folder.mkdir(exist_ok=True, mode=0o711)
    if folder.stat().st_uid != os.geteuid() or folder.is_symlink():
        raise SetupFailed(f"{folder} belongs to somebody else; remove it")
    return folder
