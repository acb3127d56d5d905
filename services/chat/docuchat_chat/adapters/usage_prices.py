"""The usage service: what the models of providers cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from docuchat_chat.providers.domain import Provider, ProviderModel
from docuchat_common.contracts.prices import PATH, ModelPrice, ProviderPrices
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.identity import INTERNAL_HEADER

_NOTHING: Final = Decimal()


class UsagePrices:
    """Tells prices to the usage service."""

    def __init__(self, client: ServiceClient, internal_token: str) -> None:
        self._client = client
        self._headers = {INTERNAL_HEADER: internal_token}

    async def put(self, provider: Provider) -> None:
        """Let the models of a provider cost what it says. It may be repeated. Raises UpstreamUnavailable."""
        priced = tuple(_price(model) for model in provider.models if _is_priced(model))
        body = ProviderPrices(tenant_id=provider.tenant_id, provider=provider.book_name, prices=priced)
        await self._client.request_json("PUT", PATH, json=body.model_dump(mode="json"), headers=self._headers)


def _is_priced(model: ProviderModel) -> bool:
    return not (model.input is None and model.output is None and model.embedding is None)


def _price(model: ProviderModel) -> ModelPrice:
    of_input = _NOTHING if model.input is None else model.input
    return ModelPrice(
        model=model.name,
        input=of_input,
        output=_NOTHING if model.output is None else model.output,
        embedding=of_input if model.embedding is None else model.embedding,
    )
