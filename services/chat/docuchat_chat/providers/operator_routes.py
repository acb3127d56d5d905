"""HTTP of the platform's providers, for operators."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response

from docuchat_chat.providers.domain import Provider, ProviderId
from docuchat_chat.providers.errors import (
    ProviderChanged,
    ProviderKeyNeeded,
    ProviderNameReserved,
    ProviderNameTaken,
    ProviderNotFound,
    TooManyProviders,
)
from docuchat_chat.providers.schemas import CheckView, NewProviderBody, ProviderChanges, ProviderView
from docuchat_chat.providers.service import Owner, ProviderService
from docuchat_common.audit import audited
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import CurrentOperator, current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS

operator = APIRouter(
    prefix="/v1/operator/providers",
    route_class=JsonRoute,
    tags=["operators"],
    dependencies=[Depends(current_operator)],
)

Providers = Annotated[ProviderService, provided("providers")]
ProviderPath = Annotated[UUID, Path(description="Id of a provider of models.")]


@operator.post("", summary="Add a provider of the platform", status_code=201, response_model=ProviderView)
@raises(ProviderNameReserved, ProviderNameTaken, TooManyProviders, *IDEMPOTENCY_ERRORS)
@audited("provider.create")
async def create_platform_provider(
    body: NewProviderBody, caller: CurrentOperator, providers: Providers, creating: CurrentCreation
) -> Response:
    """Let every tenant ask its models, each as `name/model`; it may be anywhere, on this machine as well."""
    return await creating.once(
        caller,
        body,
        lambda settle: providers.create(Owner.platform(caller), body.to_new(), body.key(), settle),
        lambda made: created(_view(made, providers)),
        about=_id_of,
    )


@operator.get("", summary="List the platform's providers")
async def list_platform_providers(caller: CurrentOperator, providers: Providers, paging: Paging) -> Page[ProviderView]:
    """List them in the order in which they were added."""
    after = paging.after(1, lambda text: ProviderId(UUID(text)))
    found = await providers.page(Owner.platform(caller), paging.rows, after)
    return paging.page(found, lambda each: _view(each, providers), lambda each: (each.id,))


@operator.get("/{provider_id}", summary="Get a provider of the platform")
@raises(ProviderNotFound)
async def get_platform_provider(
    provider_id: ProviderPath, caller: CurrentOperator, providers: Providers
) -> ProviderView:
    """Get a provider, all but its key."""
    return _view(await providers.get(Owner.platform(caller), ProviderId(provider_id)), providers)


@operator.patch("/{provider_id}", summary="Change a provider of the platform")
@raises(ProviderNotFound, ProviderChanged, ProviderKeyNeeded)
@audited("provider.update")
async def change_platform_provider(
    provider_id: ProviderPath, body: ProviderChanges, caller: CurrentOperator, providers: Providers
) -> ProviderView:
    """Change a provider, for the next question; what is left out stays."""
    return _view(await providers.change(Owner.platform(caller), ProviderId(provider_id), body.to_edit()), providers)


@operator.delete("/{provider_id}", summary="Delete a provider of the platform", status_code=204)
@raises(ProviderNotFound)
@audited("provider.delete")
async def delete_platform_provider(
    provider_id: ProviderPath, caller: CurrentOperator, providers: Providers
) -> Response:
    """Delete a provider and its key. Answers in progress are finished; new questions are refused."""
    await providers.delete(Owner.platform(caller), ProviderId(provider_id))
    return Response(status_code=204)


@operator.post("/{provider_id}/check", summary="Check a provider of the platform")
@raises(ProviderNotFound)
@audited("provider.check")
async def check_platform_provider(
    provider_id: ProviderPath, caller: CurrentOperator, providers: Providers
) -> CheckView:
    """Ask the provider for its models, by one request that costs nothing, and say what is wrong."""
    return CheckView.of(await providers.check(Owner.platform(caller), ProviderId(provider_id)))


def _view(provider: Provider, providers: ProviderService) -> ProviderView:
    return ProviderView.of(provider, providers.health_of(provider), whole=True)


def _id_of(provider: Provider) -> UUID:
    return provider.id
