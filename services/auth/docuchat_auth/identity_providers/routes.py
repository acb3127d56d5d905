"""HTTP: a tenant's identity providers."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import SecretStr

from docuchat_auth.groups.errors import GroupNotFound
from docuchat_auth.identity_providers.domain import IdentityProvider
from docuchat_auth.identity_providers.errors import (
    IdentityProviderNameTaken,
    IdentityProviderNotFound,
    TooManyIdentityProviders,
)
from docuchat_auth.identity_providers.schemas import (
    IdentityProviderChange,
    IdentityProviderView,
    NewIdentityProvider,
)
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.members.errors import OwnersOnly
from docuchat_common.audit import audited
from docuchat_common.egress import UrlRefused, UrlUnreachable
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS

router = APIRouter(tags=["identity"], route_class=JsonRoute, prefix="/v1/identity-providers")


Service = Annotated[IdentityProviders, provided("identity_providers")]
PublicUrl = Annotated[str, provided("settings.public_url")]
Admin = Annotated[Caller, requires("identity.manage")]


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@router.post(
    "",
    summary="Add an identity provider",
    status_code=201,
    response_model=IdentityProviderView,
    operation_id="createIdentityProvider",
)
@raises(
    RecentSignInRequired,
    UrlRefused,
    UrlUnreachable,
    OwnersOnly,
    GroupNotFound,
    IdentityProviderNameTaken,
    TooManyIdentityProviders,
    *IDEMPOTENCY_ERRORS,
)
@audited("identity_provider.create")
async def create_identity_provider(
    body: NewIdentityProvider,
    caller: Admin,
    providers: Service,
    public_url: PublicUrl,
    creating: CurrentCreation,
) -> Response:
    """Register the answer's `redirect_uri` at the provider: people sign in at `start_url` then."""
    return await creating.once(
        caller,
        body,
        lambda settle: providers.create(caller, body.fields(), _text(body.client_secret), settle),
        lambda provider: created(IdentityProviderView.of(provider, public_url)),
        about=_id_of,
    )


def _id_of(provider: IdentityProvider) -> UUID:
    return provider.id


@router.get("", summary="List identity providers", operation_id="listIdentityProviders")
async def list_identity_providers(
    caller: Admin, providers: Service, public_url: PublicUrl, paging: Paging
) -> Page[IdentityProviderView]:
    """The tenant's, in the order in which they were added."""
    found = await providers.list_after(caller.tenant_id, paging.after(1, UUID), paging.rows)
    return paging.page(found, lambda one: IdentityProviderView.of(one, public_url), lambda provider: (provider.id,))


@router.get("/{provider_id}", summary="Get an identity provider", operation_id="getIdentityProvider")
@raises(IdentityProviderNotFound)
async def get_identity_provider(
    provider_id: UUID, caller: Admin, providers: Service, public_url: PublicUrl
) -> IdentityProviderView:
    """All but its secret."""
    return IdentityProviderView.of(await providers.get(caller.tenant_id, provider_id), public_url)


@router.patch("/{provider_id}", summary="Change an identity provider", operation_id="changeIdentityProvider")
@raises(RecentSignInRequired, IdentityProviderNotFound, OwnersOnly, GroupNotFound, IdentityProviderNameTaken)
@audited("identity_provider.change")
async def change_identity_provider(
    provider_id: UUID, body: IdentityProviderChange, caller: Admin, providers: Service, public_url: PublicUrl
) -> IdentityProviderView:
    """What is left out stays. It holds for the next sign-in of each person."""
    changed = await providers.change(caller, provider_id, body.fields(), _text(body.client_secret))
    return IdentityProviderView.of(changed, public_url)


@router.delete(
    "/{provider_id}", summary="Delete an identity provider", status_code=204, operation_id="deleteIdentityProvider"
)
@raises(IdentityProviderNotFound)
@audited("identity_provider.delete")
async def delete_identity_provider(provider_id: UUID, caller: Admin, providers: Service) -> None:
    """Nobody signs in by it any more. Accounts and sessions stay."""
    await providers.delete(caller, provider_id)
