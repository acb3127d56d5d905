"""What a user's stream of events needs of the world."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

import aiohttp

from docuchat_common.http.caller import Caller
from docuchat_common.ids import DocumentId
from docuchat_common.user_events import Position, UserEvent
from docuchat_knowledge.documents.domain import Document


class Wakeup(Protocol):
    async def wait(self, timeout: timedelta) -> None:
        """Until something may have happened, or the time is over."""


class UserEvents(Protocol):
    """What happened to a user, in order."""

    async def open(self, holder: str) -> tuple[Position, Sequence[UserEvent]]:
        """The place to go on from, and the entries before it. Raises UpstreamUnavailable."""

    async def read(self, holder: str, after: Position) -> Sequence[UserEvent]:
        """The entries after a place. Raises EventsLost, UpstreamUnavailable."""

    def watch(self, holder: str) -> AbstractAsyncContextManager[Wakeup]:
        """Woken whenever something happens."""


class Documents(Protocol):
    async def get(self, caller: Caller, document_id: DocumentId) -> Document:
        """Raises DocumentNotFound, UpstreamUnavailable."""


class Chat(Protocol):
    """The chat service."""

    async def send(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None, patience: timedelta
    ) -> aiohttp.ClientResponse:
        """Raises UpstreamUnavailable."""


class Tickets(Protocol):
    """One-time stand-ins for a token, for who can send no header."""

    async def issue(self, token: str) -> str:
        """A ticket for `token`. Raises UpstreamUnavailable."""

    async def redeem(self, ticket: str) -> str | None:
        """The token, once; None when there is no such ticket any more. Raises UpstreamUnavailable."""
