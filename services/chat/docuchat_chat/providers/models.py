"""The models that a tenant may ask: the environment's by their bare names, those of rows as `provider/name`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.ports import AnswerModels, AnswerRequest, ServedModel
from docuchat_chat.providers.catalogue import Catalogue
from docuchat_chat.providers.domain import Provider, ProviderModel
from docuchat_chat.providers.ports import Clients
from docuchat_chat.providers.watching import Watch
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.ids import TenantId
from docuchat_models.chat import Piece
from docuchat_models.errors import ProviderError, ProviderRateLimited, ProviderRefused, ProviderTimeout

logger = structlog.get_logger()

_TOLD: Final = 50
"""Models that a refusal names."""
_NEARLY: Final = 0.9
"""Of the time that a provider has: who gives up after that gave up on the provider."""


class ProvidedModels:
    """Every model that may be asked. A bare name of the environment's never needs the table."""

    def __init__(
        self,
        environment: AnswerModels,
        bare: Sequence[str],
        catalogue: Catalogue,
        clients: Clients,
        watch: Watch,
    ) -> None:
        """`bare` are the names of the environment's."""
        self._environment = environment
        self._bare = tuple(bare)
        self._catalogue = catalogue
        self._clients = clients
        self._watch = watch

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        """Return what serves a model. Raises ModelNotAllowed."""
        if model in self._bare or "/" not in model:
            return await self._environment.find(tenant_id, model)
        found = await self._catalogue.find(tenant_id, model)
        if found is None:
            try:
                return await self._environment.find(tenant_id, model)
            except ModelNotAllowed as error:
                raise await self._refusal(tenant_id, model) from error
        return self._served(*found)

    async def list_models(self, tenant_id: TenantId) -> Sequence[ServedModel]:
        """Return all of them: the environment's first, then the tenant's own, then the platform's."""
        served = {each.name: each for each in await self._environment.list_models(tenant_id)}
        for provider in await self._catalogue.list_enabled(tenant_id):
            for model in filter(ProviderModel.answers, provider.models):
                served.setdefault(provider.full_name(model), self._served(provider, model))
        return list(served.values())

    def _served(self, provider: Provider, model: ProviderModel) -> ServedModel:
        return ServedModel(
            name=provider.full_name(model),
            provider=provider.book_name,
            model=model.name,
            answers=WatchedModel(provider, self._clients, self._watch),
            is_down=self._watch.of(provider.id).state == "down",
            context_window=model.context_window,
        )

    async def _refusal(self, tenant_id: TenantId, model: str) -> ModelNotAllowed:
        allowed = [each.name for each in await self.list_models(tenant_id)]
        return ModelNotAllowed(
            f"The model {model[:100]} may not be asked: its provider is not there, is disabled or does not list it. "
            "GET /v1/models shows what may be asked; owners and admins set providers at /v1/providers.",
            allowed_models=allowed[:_TOLD],
        )


class ForEverybody:
    """Whether a model that the environment names is there: of the environment's, or of a row of the platform."""

    def __init__(self, models: AnswerModels, setting: str, name: str) -> None:
        """`setting`: what names it."""
        self._models = models
        self._setting = setting
        self._name = name
        self._is_told = False

    async def check(self) -> None:
        """Say in the log, once, that it is not there. Raises ModelNotAllowed, and UpstreamUnavailable."""
        try:
            await self._models.find(NO_TENANT, self._name)
        except ModelNotAllowed as error:
            told = f"{self._setting} names no model of the environment's or of a provider of the platform's."
            if not self._is_told:
                logger.error("model.not_there", setting=self._setting, model=self._name, detail=told)
            self._is_told = True
            raise ModelNotAllowed(told) from error
        self._is_told = False


class WatchedModel:
    """A model of a provider of which it is noted how each call went."""

    has_own_knowledge = True

    def __init__(self, provider: Provider, clients: Clients, watch: Watch) -> None:
        self._provider = provider
        self._clients = clients
        self._watch = watch

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer; all text of one read is one piece."""
        clock = asyncio.get_running_loop().time
        began, is_asked, has_begun = clock(), False, False
        try:
            async with (
                self._clients.use(self._provider) as client,
                aclosing(client.answers.answer(request)) as pieces,
            ):
                is_asked = True
                async for piece in pieces:
                    if not has_begun and (piece.text or piece.thoughts or piece.usage):
                        has_begun = True
                        self._watch.worked(self._provider)
                    yield piece
        except ProviderRefused as error:
            # Most are about this question alone; a wrong key is found by the check.
            self._watch.failed(self._provider, error.code, counts=False)
            raise
        except ProviderRateLimited as error:
            if is_asked:  # else there was no room for a client here
                self._watch.limited(self._provider, error.code)
            raise
        except ProviderError as error:
            self._watch.failed(self._provider, getattr(error, "code", "provider_error"))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            # Whoever waits for the first word gives up in this way.
            patience = request.patience
            if not has_begun and patience is not None and clock() - began >= _NEARLY * patience.total_seconds():
                self._watch.failed(self._provider, ProviderTimeout.code)
            raise
