"""What can be asked, and the providers whose models those are, as frozen models."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from docuchat_client.models import Model

Authentication = Literal["bearer", "api-key"]
InputType = Literal["query", "passage"]


class AvailableModel(Model):
    """A model or a chatbot that one may ask, or the model that embeds; a question names its `id` as `model`."""

    id: str
    kind: str
    """`model`, `chatbot` or `embedding`."""
    name: str
    owned_by: str
    created: int = 0
    """Seconds since 1970; 0 of a model, whose age is not known."""


class AvailableModels(Model):
    """All that one may ask."""

    data: list[AvailableModel]


class ProviderModel(Model):
    """A model of a provider; prices are USD per million tokens, None where there is none."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str
    """As the provider calls it."""
    asked_as: str = Field(alias="model")
    """What a question names it by: `provider/name`."""
    context_window: int | None = None
    input: Decimal | None = None
    output: Decimal | None = None
    embedding: Decimal | None = None


class ProviderHealth(Model):
    """How a provider is, by what came of its last calls."""

    state: str
    """`ok`, `degraded` or `down`."""
    last_error: str | None = None
    since: datetime | None = None


class ModelProvider(Model):
    """A provider of models. Of the platform's a tenant sees neither address nor key."""

    id: UUID
    name: str
    owner: str
    """`tenant` or `platform`."""
    base_url: str | None = None
    api_key_hint: str | None = None
    """How its key ends; None where it has none."""
    auth: str
    query: dict[str, str]
    models: list[ProviderModel]
    enabled: bool
    health: ProviderHealth
    revision: int
    created_at: datetime
    updated_at: datetime


class ProviderCheck(Model):
    """How a provider answered just now; `detail` says it in words."""

    ok: bool
    outcome: str
    status: int | None = None
    """What it answered with over HTTP; None where it did not answer."""
    detail: str
    unknown_models: list[str]
    """Models of the row that the provider does not list."""


class EmbeddingsUsage(Model):
    """The tokens of a call, as they are booked."""

    prompt_tokens: int
    total_tokens: int


class Embedded(Model):
    """The vector of one text."""

    index: int
    embedding: list[float]


class Embeddings(Model):
    """Vectors, in the order of the texts."""

    model: str
    data: list[Embedded]
    usage: EmbeddingsUsage

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors alone."""
        return [one.embedding for one in self.data]
