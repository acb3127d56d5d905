"""What the use cases of signing keys need from the world."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from docuchat_auth.signing_keys.domain import SigningKey
from docuchat_auth.tenants.ports import EventSink


class SigningKeyStore(Protocol):
    """The signing keys of the installation. System transactions only."""

    async def lock(self) -> None:
        """Hold off other transactions that would create, retire or drop keys until this one ends."""
        ...

    async def list_all(self) -> Sequence[SigningKey]: ...

    async def add(self, key: SigningKey) -> None: ...

    async def retire(self, kid: str, moment: datetime) -> None: ...

    async def drop(self, kid: str) -> None: ...


class SigningKeysTx(Protocol):
    """A transaction with signing keys and the outbox."""

    @property
    def signing_keys(self) -> SigningKeyStore: ...

    @property
    def outbox(self) -> EventSink: ...
