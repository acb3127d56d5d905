"""Models: which one may ask, the vectors of texts, and the providers whose models those are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from docuchat_client.bodies import given, provider_body
from docuchat_client.calls import Calls
from docuchat_client.errors import NotFound
from docuchat_client.models import Page
from docuchat_client.provider_models import (
    Authentication,
    AvailableModel,
    AvailableModels,
    Embeddings,
    InputType,
    ModelProvider,
    ProviderCheck,
)

_PATH: Final = "/v1/providers"


class ModelProviders(Calls):
    """The part of a client that is about models; providers are for who manages them."""

    async def models(self) -> list[AvailableModel]:
        """The models and chatbots that one may ask, and the model that embeds."""
        return (await self._get(AvailableModels, "GET", "/v1/models")).data

    async def model(self, model_id: str) -> AvailableModel:
        """One of them, by its id."""
        return await self._get(AvailableModel, "GET", f"/v1/models/{model_id}")

    async def embed(
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
        if model is None:
            found = (one.id for one in await self.models() if one.kind == "embedding")
            if (model := next(found, None)) is None:
                raise NotFound("This service has no model that embeds for you.", code="model_not_found")
        body = given(model=model, input=texts, dimensions=dimensions)
        if input_type is not None:
            body["docuchat"] = {"input_type": input_type}
        return await self._get(Embeddings, "POST", "/v1/embeddings", json=body)

    def model_providers(self) -> AsyncIterator[ModelProvider]:
        """The tenant's own and the platform's, in the order in which they were added."""
        return self._every(Page[ModelProvider], _PATH)

    async def model_provider(self, provider_id: UUID | str) -> ModelProvider:
        """One provider."""
        return await self._get(ModelProvider, "GET", f"{_PATH}/{provider_id}")

    async def find_model_provider(self, reference: UUID | str) -> ModelProvider:
        """The provider of this name or id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for provider in self.model_providers():
            if named in (str(provider.id), provider.name.casefold()):
                return provider
        message = f"There is no provider of models {reference!r}; `docuchat model-providers list` shows them."
        raise NotFound(message, code="provider_not_found")

    async def add_model_provider(
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
        body = {"name": name} | provider_body(base_url, api_key, models, auth, query, enabled)
        return await self._create(ModelProvider, _PATH, body, idempotency_key)

    async def change_model_provider(
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
        body = provider_body(base_url, api_key, models, auth, query, enabled) | given(revision=revision)
        path = f"{_PATH}/{provider_id}"
        return await self._get(ModelProvider, "PATCH", path, json=body, repeatable=revision is None)

    async def remove_model_provider(self, provider_id: UUID | str) -> None:
        """Delete a provider and its key; who asks for its models then is refused."""
        await self._transport.request("DELETE", f"{_PATH}/{provider_id}")

    async def check_model_provider(self, provider_id: UUID | str) -> ProviderCheck:
        """Ask the provider for its models, which costs nothing, and say what is wrong."""
        return await self._get(ProviderCheck, "POST", f"{_PATH}/{provider_id}/check", repeatable=True)
