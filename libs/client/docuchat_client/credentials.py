"""Where tokens are kept between calls and between runs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

with contextlib.suppress(ImportError):
    # Not on Windows: there, of two processes that renew at once one has to sign in again.
    import fcntl

_LOCK_PAUSE = 0.05


class Credentials(BaseModel):
    """A sign-in: where, as whom, and its tokens."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    server: str
    tenant: str | None = None
    email: str | None = None
    access_token: str
    refresh_token: str | None = None
    challenge: str | None = None
    """Of a sign-in by code; it makes this program known to the service when it asks for the next code."""
    device: str | None = None
    """As `challenge`, of a sign-in by password."""

    @property
    def seconds_left(self) -> float | None:
        """How long the access token is still good; None when it does not tell."""
        try:
            payload = self.access_token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return float(claims["exp"]) - time.time()
        except (IndexError, KeyError, TypeError, ValueError):
            return None


class CredentialStore(Protocol):
    """Keeps one sign-in."""

    def load(self) -> Credentials | None: ...

    def save(self, credentials: Credentials) -> None: ...

    def clear(self) -> None: ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Held while tokens are renewed: a refresh token is good for one use, whoever uses it."""
        ...


class MemoryCredentials:
    """A store that ends with the process."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._lock = asyncio.Lock()

    def load(self) -> Credentials | None:
        return self._credentials

    def save(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def clear(self) -> None:
        self._credentials = None

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._lock:
            yield


class FileCredentials:
    """A store in a JSON file that only its owner can read; several processes may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self._lock = asyncio.Lock()

    def load(self) -> Credentials | None:
        try:
            return Credentials.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def save(self, credentials: Credentials) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(credentials.model_dump_json(indent=2) + "\n")
        partial.replace(self.path)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        async with self._lock:
            if "fcntl" not in globals():
                yield
                return
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                while True:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        await asyncio.sleep(_LOCK_PAUSE)
                yield
            finally:
                os.close(descriptor)


def default_path() -> Path:
    """`credentials.json` in `$DOCUCHAT_CONFIG_DIR`, else in `docuchat` below `$XDG_CONFIG_HOME` or `~/.config`."""
    if folder := os.environ.get("DOCUCHAT_CONFIG_DIR"):
        return Path(folder) / "credentials.json"
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "docuchat" / "credentials.json"
