"""What providers need from the world."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from docuchat_chat.answers.ports import AnswerModel
from docuchat_chat.providers.domain import NewProvider, Provider, ProviderId
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import TenantId
from docuchat_common.messaging.outbox import Outbox
from docuchat_models.providers import Listing


class ProviderStore(Protocol):
    """Providers. `owner` is the tenant whose they are, None the platform, whose are written by the system role."""

    async def count(self, owner: TenantId | None) -> int:
        """Return how many there are; who counts goes on alone until the transaction ends."""
        ...

    async def add(
        self,
        owner: TenantId | None,
        provider_id: ProviderId,
        new: NewProvider,
        sealed_key: bytes | None,
        key_hint: str | None,
    ) -> Provider:
        """Make one. Raises ProviderNameTaken."""
        ...

    async def save(self, provider: Provider) -> Provider:
        """Keep an edit, as the next revision."""
        ...

    async def remove(self, owner: TenantId | None, provider_id: ProviderId) -> bool:
        """Delete one; False when there is none."""
        ...

    async def find_own(self, owner: TenantId | None, provider_id: ProviderId) -> Provider | None:
        """Return one that nobody else edits until the transaction ends."""
        ...

    async def find(self, tenant_id: TenantId | None, provider_id: ProviderId) -> Provider | None:
        """Return one of the tenant's or the platform's; without a tenant of the platform's."""
        ...

    async def has_platform(self, name: str) -> bool:
        """Whether the platform has a provider of that name."""
        ...

    async def page(self, tenant_id: TenantId | None, limit: int, after: ProviderId | None) -> list[Provider]:
        """Return the tenant's and the platform's by id; without a tenant the platform's."""
        ...

    async def list_enabled(self, tenant_id: TenantId) -> list[Provider]:
        """Return what the tenant may use, its own first."""
        ...

    async def list_any(self, after: ProviderId | None, limit: int) -> list[Provider]:
        """Return a page of all by id, whosever they are (system role)."""
        ...

    async def seal_anew(self, provider: Provider, sealed_key: bytes) -> bool:
        """Keep a key under another secret, unless it was changed meanwhile."""
        ...

    async def find_any(self, provider_id: ProviderId) -> Provider | None:
        """Return one, whosever it is (system role)."""
        ...


class OpenedProvider(Protocol):
    """A client of one provider."""

    @property
    def answers(self) -> AnswerModel:
        """What answers."""
        ...

    async def list_models(self) -> Listing:
        """Ask for its models; what goes wrong is told, not raised."""
        ...


class Clients(Protocol):
    """Clients of providers, kept while they are used."""

    def use(self, provider: Provider) -> AbstractAsyncContextManager[OpenedProvider]:
        """Use the client of a provider as it is in its revision. Raises ProviderRefused, ProviderRateLimited."""
        ...


class Prices(Protocol):
    """What models cost, which the usage service keeps."""

    async def put(self, provider: Provider) -> None:
        """Let the models of a provider cost what it says. It may be repeated. Raises UpstreamUnavailable."""
        ...


class ProvidersTx(Protocol):
    """What of a transaction providers use."""

    @property
    def providers(self) -> ProviderStore:
        """The providers."""
        ...

    @property
    def requests(self) -> IdempotentRequests:
        """Idempotency keys."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...
