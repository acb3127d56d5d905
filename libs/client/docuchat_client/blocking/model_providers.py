"""Written by scripts/write_blocking.py from model_providers.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.provider_models import (
    Authentication,
    AvailableModel,
    Embeddings,
    InputType,
    ModelProvider,
    ProviderCheck,
)


class BlockingModelProviders(Blocking):
    """The part of a client that is about models; providers are for who manages them."""

    _client: AsyncDocuChat

    def models(self) -> list[AvailableModel]:
        """The models and chatbots that one may ask, and the model that embeds."""
        return self._loop.run(self._client.models())

    def model(self, model_id: str) -> AvailableModel:
        """One of them, by its id."""
        return self._loop.run(self._client.model(model_id))

    def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        input_type: InputType | None = None,
        dimensions: int | None = None,
    ) -> Embeddings:
        """The vectors of up to 2048 texts, by the model in whose space documents are searched.

        Without `model` it is asked for first. `input_type` says what the texts are to models that are told by a prefix.
        """
        return self._loop.run(self._client.embed(texts, model=model, input_type=input_type, dimensions=dimensions))

    def model_providers(self) -> Iterator[ModelProvider]:
        """The tenant's own and the platform's, in the order in which they were added."""
        return self._loop.iterate(self._client.model_providers())

    def model_provider(self, provider_id: UUID | str) -> ModelProvider:
        """One provider."""
        return self._loop.run(self._client.model_provider(provider_id))

    def find_model_provider(self, reference: UUID | str) -> ModelProvider:
        """The provider of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_model_provider(reference))

    def add_model_provider(
        self,
        name: str,
        base_url: str,
        *,
        api_key: str | None = None,
        models: Sequence[str | Mapping[str, Any]] = (),
        auth: Authentication | None = None,
        query: Mapping[str, str] | None = None,
        enabled: bool = True,
        idempotency_key: str | None = None,
    ) -> ModelProvider:
        """A provider whose models are asked for as `name/model`; its key is told to nobody again.

        A model is its name, or a mapping with `name`, `input`, `output` and `embedding` (USD per million tokens) and
        `context_window`. What is not listed is refused.
        """
        return self._loop.run(
            self._client.add_model_provider(
                name,
                base_url,
                api_key=api_key,
                models=models,
                auth=auth,
                query=query,
                enabled=enabled,
                idempotency_key=idempotency_key,
            )
        )

    def change_model_provider(
        self,
        provider_id: UUID | str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        models: Sequence[str | Mapping[str, Any]] | None = None,
        auth: Authentication | None = None,
        query: Mapping[str, str] | None = None,
        enabled: bool | None = None,
        revision: int | None = None,
    ) -> ModelProvider:
        """Change what is given; `models` replaces all of them.

        With the `revision` that was read, nobody else's change is overwritten: Conflict with code `provider_changed`.
        """
        return self._loop.run(
            self._client.change_model_provider(
                provider_id,
                base_url=base_url,
                api_key=api_key,
                models=models,
                auth=auth,
                query=query,
                enabled=enabled,
                revision=revision,
            )
        )

    def remove_model_provider(self, provider_id: UUID | str) -> None:
        """Delete a provider and its key; who asks for its models then is refused."""
        self._loop.run(self._client.remove_model_provider(provider_id))

    def check_model_provider(self, provider_id: UUID | str) -> ProviderCheck:
        """Ask the provider for its models, which costs nothing, and say what is wrong."""
        return self._loop.run(self._client.check_model_provider(provider_id))
