"""How providers are: what each call says of its provider, and what is known of it on all replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from docuchat_chat.providers.domain import Provider, ProviderId

State = Literal["ok", "degraded", "down"]
DOWN_AFTER: Final = 3
"""Failures in a row with which a provider counts as down."""
LIMITED_FOR: Final = timedelta(minutes=1)
"""So long a provider may take no more requests, from anybody here, before it counts as down."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a provider is."""

    state: State = "ok"
    last_error: str | None = None
    """The code of what went wrong last."""
    since: datetime | None = None
    """When it stopped being well."""


WELL: Final = Health()


class Watch(Protocol):
    """What is known of how providers are; none of it waits for Redis."""

    def of(self, provider_id: ProviderId) -> Health:
        """Return how a provider is."""
        ...

    def worked(self, provider: Provider) -> None:
        """Note that it answered."""
        ...

    def failed(self, provider: Provider, code: str, *, counts: bool = True) -> None:
        """Note that it did not; what does not `count` never makes it one that is down."""
        ...

    def limited(self, provider: Provider, code: str) -> None:
        """Note that it takes no more requests; one that did so for `LIMITED_FOR` is down with that."""
        ...

    def recovering(self, provider: Provider) -> None:
        """Note that it answers again: it may be asked, and one more failure makes it one that is down."""
        ...

    def troubled(self) -> Mapping[ProviderId, Health]:
        """Return all that are not well."""
        ...

    async def claim_probe(self, provider_id: ProviderId, pause: timedelta) -> bool:
        """Whether it is for this replica to probe it now: for one, and after a pause again.

        While Redis is away each replica probes on its own.
        """
        ...

    def forget(self, provider_id: ProviderId) -> None:
        """Know nothing of it any more: it is gone, or another one under its name."""
        ...
