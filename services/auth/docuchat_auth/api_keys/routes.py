"""HTTP: API keys of users and of the tenant; for the gateway, what a key is worth."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from docuchat_auth.api_keys.domain import IssuedKey
from docuchat_auth.api_keys.errors import (
    ApiKeyNotFound,
    KeyExpiryPast,
    RightsExceeded,
    TooManyApiKeys,
)
from docuchat_auth.api_keys.schemas import ApiKeyView, IssuedApiKey, NewApiKey, Rotation
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.http import NoStore
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.contracts.api_keys import PATH, KeyExchange, KeyToken
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_common.sealing import SealedAnswers

router = APIRouter(route_class=JsonRoute, tags=["api-keys"])
inside = APIRouter(route_class=JsonRoute, dependencies=[InternalCaller, NoStore], include_in_schema=False)


Service = Annotated[ApiKeys, provided("api_keys")]
Sealed = Annotated[SealedAnswers, provided("sealed_answers")]
Holder = Annotated[Caller, requires("keys.use")]


def _present(issued: IssuedKey) -> StoredResponse:
    return replace(created(IssuedApiKey.of_issued(issued)), headers={"Cache-Control": "no-store"})


def _about(issued: IssuedKey) -> UUID:
    return issued.key.id


@router.post(
    "/v1/api-keys",
    summary="Make an API key",
    status_code=201,
    response_model=IssuedApiKey,
    operation_id="createApiKey",
)
@raises(RightsExceeded, RecentSignInRequired, KeyExpiryPast, TooManyApiKeys, UserGone, *IDEMPOTENCY_ERRORS)
@audited("api_key.create")
async def create_api_key(
    body: NewApiKey, caller: Holder, keys: Service, seal: Sealed, creating: CurrentCreation
) -> Response:
    """The secret is in this answer and nowhere else. Needs a sign-in of the last 15 minutes.

    Your key acts with the role that you have when it is used, as far as its scopes go, and ends with your account.
    """
    return await creating.once(
        caller,
        body,
        lambda settle: keys.create(caller, body.wanted(), settle),
        _present,
        about=_about,
        seal=seal,
    )


@router.get(
    "/v1/api-keys",
    summary="List API keys",
    operation_id="listApiKeys",
)
async def list_api_keys(caller: Holder, keys: Service, paging: Paging) -> Page[ApiKeyView]:
    """Your own; all of the tenant for who may manage them."""
    found = await keys.list_after(caller, paging.after(1, UUID), paging.rows)
    return paging.page(found, ApiKeyView.of, lambda key: (key.id,))


@router.delete(
    "/v1/api-keys/{key_id}",
    summary="Revoke an API key",
    status_code=204,
    operation_id="deleteApiKey",
)
@raises(ApiKeyNotFound)
@audited("api_key.revoke")
async def delete_api_key(key_id: UUID, caller: Holder, keys: Service) -> None:
    """It opens nothing any more within two seconds, everywhere."""
    await keys.revoke(caller, key_id)


@router.post(
    "/v1/api-keys/{key_id}/rotate",
    summary="Give an API key another secret",
    status_code=201,
    response_model=IssuedApiKey,
    operation_id="rotateApiKey",
)
@raises(ApiKeyNotFound, RightsExceeded, RecentSignInRequired, *IDEMPOTENCY_ERRORS)
@audited("api_key.rotate")
async def rotate_api_key(
    key_id: UUID,
    caller: Holder,
    keys: Service,
    seal: Sealed,
    creating: CurrentCreation,
    body: Rotation | None = None,
) -> Response:
    """The secret before works for an hour, or for `overlap_seconds`; any older one no more."""
    overlap = timedelta(seconds=(body or Rotation()).overlap_seconds)
    return await creating.once(
        caller,
        body,
        lambda settle: keys.rotate(caller, key_id, overlap, settle),
        _present,
        about=_about,
        seal=seal,
    )


@inside.post(PATH)
async def exchange(body: KeyExchange, keys: Service) -> KeyToken:
    """A token of five minutes at most for a key."""
    return await keys.exchange(body.key, body.address)
