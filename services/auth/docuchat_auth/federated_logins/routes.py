"""HTTP: sign in by an identity provider."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from docuchat_auth.federated_logins.domain import FLOW_LIFETIME, ProviderAnswer, Turn
from docuchat_auth.federated_logins.errors import (
    IdentityProviderUnavailable,
    InvalidSignInCode,
    NotAdmitted,
    ReturnNotAllowed,
    SignInEnded,
)
from docuchat_auth.federated_logins.schemas import CodeExchange
from docuchat_auth.federated_logins.service import FederatedSignIn
from docuchat_auth.groups.errors import TooManyGroups
from docuchat_auth.http import NoStore
from docuchat_auth.identity_providers.domain import CALLBACK
from docuchat_auth.identity_providers.errors import IdentityProviderNotFound
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided


class _CallbackRoute(JsonRoute):
    """Takes parameters that it does not know: a provider's answer may say more (RFC 6749 §4.1.2)."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return APIRoute.get_route_handler(self)


router = APIRouter(tags=["auth"], route_class=JsonRoute, prefix="/v1/auth/oidc")
callback = APIRouter(tags=["auth"], route_class=_CallbackRoute, prefix=CALLBACK)


Service = Annotated[FederatedSignIn, provided("federated_sign_in")]
_Shown = Annotated[str | None, Query(max_length=4096)]
_REDIRECT: dict[int | str, dict[str, Any]] = {
    303: {"description": "Go there", "headers": {"Location": {"schema": {"type": "string"}}}}
}


@router.get(
    "/{tenant}/{provider_id}/start",
    summary="Begin a sign-in by an identity provider",
    operation_id="beginProviderSignIn",
    status_code=303,
    response_class=RedirectResponse,
    responses=_REDIRECT,
)
@public
@raises(IdentityProviderNotFound, ReturnNotAllowed, IdentityProviderUnavailable)
async def begin(
    tenant: str,
    provider_id: UUID,
    sign_in: Service,
    return_to: Annotated[
        str, Query(max_length=1000, description="Where the browser ends, with `code` or `error`; must be allowed.")
    ],
    code_challenge: Annotated[
        str,
        Query(
            pattern=r"^[A-Za-z0-9_-]{43}$",
            description="base64url(SHA-256(`code_verifier`)): only who knows the verifier gets tokens for the code.",
        ),
    ],
) -> Response:
    """Sends the browser to the provider. A front end opens this address, it does not fetch it."""
    begun = await sign_in.begin(tenant, provider_id, return_to, code_challenge)
    response = _redirect(begun.url)
    response.set_cookie(
        begun.cookie_name,
        begun.cookie,
        max_age=int(FLOW_LIFETIME.total_seconds()),
        path="/",
        secure=_is_secure(begun),
        httponly=True,
        samesite="lax",
    )
    return response


@callback.get(
    "/{provider_id}",
    summary="Come back from an identity provider",
    operation_id="endProviderSignIn",
    status_code=303,
    response_class=RedirectResponse,
    responses=_REDIRECT,
)
@public
@raises(SignInEnded)
async def receive(
    provider_id: UUID,
    request: Request,
    sign_in: Service,
    code: _Shown = None,
    state: _Shown = None,
    iss: _Shown = None,
    error: _Shown = None,
) -> Response:
    """The `redirect_uri` that is registered at the provider. Sends the browser to `return_to`."""
    done = await sign_in.receive(provider_id, ProviderAnswer(code, state, iss, error), request.cookies)
    response = _redirect(done.url)
    response.delete_cookie(done.cookie_name, path="/", secure=_is_secure(done), httponly=True, samesite="lax")
    return response


@router.post(
    "/exchange", summary="Exchange a code for tokens", operation_id="exchangeProviderCode", dependencies=[NoStore]
)
@public
@audited("session.start")
@raises(InvalidSignInCode, NotAdmitted, TooManyGroups, UserGone, NoSigningKey)
async def exchange(body: CodeExchange, sign_in: Service) -> Tokens:
    """With the `code` of the address that the browser came back to. Works once."""
    return Tokens.of(await sign_in.exchange(body.code, body.code_verifier))


def _is_secure(turn: Turn) -> bool:
    return turn.cookie_name.startswith("__Host-")


def _redirect(url: str) -> Response:
    return RedirectResponse(
        url, status_code=303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )
