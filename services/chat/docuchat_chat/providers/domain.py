"""A provider of models, and what it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, NewType
from uuid import UUID

from docuchat_common.contracts.prices import own_provider
from docuchat_common.ids import TenantId

ProviderId = NewType("ProviderId", UUID)

MOST_PROVIDERS: Final = 20
"""Of one tenant, and of the platform."""
MOST_MODELS: Final = 200
RESERVED: Final = frozenset(
    {"own", "local", "wordllama", "extractive", "docuchat", "platform", "default", "chatbot", "chatbots", "none"}
)
"""Names that mean something else here: providers in the books, beginnings of models' names."""
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HINT: Final = 4
_SHORTEST_HINTED: Final = 12


class Auth(StrEnum):
    """How a provider is shown its key."""

    BEARER = "bearer"
    API_KEY = "api-key"
    """In the header `api-key`, as Azure wants it."""


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A model that a provider serves; prices are USD per million tokens, None where nobody gave one."""

    name: str
    """As the provider calls it."""
    input: Decimal | None = None
    output: Decimal | None = None
    embedding: Decimal | None = None
    context_window: int | None = None

    def answers(self) -> bool:
        """Tell whether it can be asked: a model with a price for embeddings alone embeds, and writes nothing."""
        return self.embedding is None or self.input is not None or self.output is not None


@dataclass(frozen=True, slots=True)
class NewProvider:
    """A provider that is to be made."""

    name: str
    base_url: str
    auth: Auth
    query: Mapping[str, str]
    models: tuple[ProviderModel, ...]
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider. Its name stays: chatbots and books know it by that."""

    id: ProviderId
    tenant_id: TenantId | None
    """Whose it is; None: the platform's."""
    name: str
    base_url: str
    sealed_key: bytes | None = field(repr=False)
    key_hint: str | None
    auth: Auth
    query: Mapping[str, str]
    models: tuple[ProviderModel, ...]
    is_enabled: bool
    revision: int
    created_at: datetime
    updated_at: datetime

    @property
    def book_name(self) -> str:
        """What it is called in holds, prices and ledger: a tenant's own is never mistaken for one of the platform's."""
        return self.name if self.tenant_id is None else own_provider(self.tenant_id, self.name)

    def find_model(self, name: str) -> ProviderModel | None:
        """Return the model of that name."""
        return next((model for model in self.models if model.name == name), None)

    def full_name(self, model: ProviderModel) -> str:
        """What a caller asks for to get `model`."""
        return f"{self.name}/{model.name}"


def environments(base_url: str, name: str, models: Sequence[str]) -> Provider:
    """Return the provider that the environment names, in the shape of a row that stands before all others."""
    # Another address is another provider: what was known of the one before says nothing of it.
    place = sha256(base_url.encode()).digest()[:8]
    return Provider(
        id=ProviderId(UUID(bytes=bytes(8) + place)),
        tenant_id=None,
        name=name,
        base_url=base_url,
        sealed_key=None,
        key_hint=None,
        auth=Auth.BEARER,
        query={},
        models=tuple(map(ProviderModel, models)),
        is_enabled=True,
        revision=0,
        created_at=_NEVER,
        updated_at=_NEVER,
    )


@dataclass(frozen=True, slots=True)
class ProviderEdit:
    """What is to be different of a provider, by the names of its fields."""

    fields: Mapping[str, Any]
    api_key: str | None = field(default=None, repr=False)
    revision: int | None = None
    """The one that the editor saw."""


def hint_of(key: str) -> str:
    """Return what is shown of a key: its last characters, of a short one none."""
    return key[-_HINT:] if len(key) >= _SHORTEST_HINTED else ""
