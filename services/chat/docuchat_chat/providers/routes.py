"""HTTP of a tenant's providers."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from docuchat_chat.providers.domain import Provider, ProviderId
from docuchat_chat.providers.errors import (
    ProviderChanged,
    ProviderKeyNeeded,
    ProviderNameReserved,
    ProviderNameTaken,
    ProviderNotFound,
    ProviderOfPlatform,
    TooManyProviders,
)
from docuchat_chat.providers.schemas import CheckView, NewProviderBody, ProviderChanges, ProviderView
from docuchat_chat.providers.service import Owner, ProviderService
from docuchat_common.audit import audited
from docuchat_common.egress import UrlRefused, UrlUnreachable
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS

router = APIRouter(prefix="/v1/providers", route_class=JsonRoute, tags=["providers"])

Providers = Annotated[ProviderService, provided("providers")]
Manager = Annotated[Caller, requires("providers.manage")]
ProviderPath = Annotated[UUID, Path(description="Id of a provider of models.")]


@router.post("", summary="Add a provider", status_code=201, response_model=ProviderView)
@raises(ProviderNameReserved, ProviderNameTaken, TooManyProviders, UrlRefused, UrlUnreachable, *IDEMPOTENCY_ERRORS)
@audited("provider.create")
async def create_provider(
    body: NewProviderBody, caller: Manager, providers: Providers, creating: CurrentCreation
) -> Response:
    """Let the tenant's questions be answered by models that it pays for itself; each is asked for as `name/model`."""
    return await creating.once(
        caller,
        body,
        lambda settle: providers.create(Owner.tenant(caller), body.to_new(), body.key(), settle),
        lambda made: created(_view(made, providers)),
        about=_id_of,
    )


@router.get("", summary="List providers")
async def list_providers(caller: Manager, providers: Providers, paging: Paging) -> Page[ProviderView]:
    """List the tenant's own and the platform's, in the order in which they were added."""
    after = paging.after(1, lambda text: ProviderId(UUID(text)))
    found = await providers.page(Owner.tenant(caller), paging.rows, after)
    return paging.page(found, lambda each: _view(each, providers), lambda each: (each.id,))


@router.get("/{provider_id}", summary="Get a provider")
@raises(ProviderNotFound)
async def get_provider(provider_id: ProviderPath, caller: Manager, providers: Providers) -> ProviderView:
    """Get a provider, all but its key."""
    return _view(await providers.get(Owner.tenant(caller), ProviderId(provider_id)), providers)


@router.patch("/{provider_id}", summary="Change a provider")
@raises(ProviderNotFound, ProviderOfPlatform, ProviderChanged, ProviderKeyNeeded, UrlRefused, UrlUnreachable)
@audited("provider.update")
async def change_provider(
    provider_id: ProviderPath, body: ProviderChanges, caller: Manager, providers: Providers
) -> ProviderView:
    """Change a provider, for the next question; what is left out stays."""
    return _view(await providers.change(Owner.tenant(caller), ProviderId(provider_id), body.to_edit()), providers)


@router.delete("/{provider_id}", summary="Delete a provider", status_code=204)
@raises(ProviderNotFound, ProviderOfPlatform)
@audited("provider.delete")
async def delete_provider(provider_id: ProviderPath, caller: Manager, providers: Providers) -> Response:
    """Delete a provider and its key. Answers in progress are finished; new questions are refused."""
    await providers.delete(Owner.tenant(caller), ProviderId(provider_id))
    return Response(status_code=204)


@router.post("/{provider_id}/check", summary="Check a provider")
@raises(ProviderNotFound, ProviderOfPlatform)
@audited("provider.check")
async def check_provider(provider_id: ProviderPath, caller: Manager, providers: Providers) -> CheckView:
    """Ask the provider for its models, by one request that costs nothing, and say what is wrong."""
    return CheckView.of(await providers.check(Owner.tenant(caller), ProviderId(provider_id)))


def _view(provider: Provider, providers: ProviderService) -> ProviderView:
    return ProviderView.of(provider, providers.health_of(provider), whole=provider.tenant_id is not None)


def _id_of(provider: Provider) -> UUID:
    return provider.id
