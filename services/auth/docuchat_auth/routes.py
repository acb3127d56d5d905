"""HTTP: sign in, stay signed in, who am I, and the keys that verify tokens."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from docuchat_auth.domain import Tenant, limited_address
from docuchat_auth.keyring import KeyRing
from docuchat_auth.schemas import (
    CodeRequestBody,
    CodeSent,
    CodeVerifyBody,
    JsonWebKeySet,
    Me,
    RefreshBody,
    Tokens,
)
from docuchat_auth.service import Profiles, Sessions, SignIn, TenantDirectory
from docuchat_auth.settings import Settings
from docuchat_common.http.health import Check
from docuchat_common.http.identity import CurrentPrincipal, MissingTenant, TokenVerifier, is_internal
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import problem_responses

router = APIRouter(route_class=JsonRoute)

_TENANT_PARAMETER: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Tenant-ID",
            "in": "header",
            "required": True,
            "description": "The tenant, by its id or its slug.",
            "schema": {"type": "string"},
            "example": "1",
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Container:
    """What the routes work with."""

    settings: Settings
    verifier: TokenVerifier
    tenants: TenantDirectory
    sign_in: SignIn
    sessions: Sessions
    profiles: Profiles
    keys: KeyRing
    checks: dict[str, Check]


async def container(request: Request) -> Container:
    """The service's container."""
    found: Container = request.app.state.container
    return found


Parts = Annotated[Container, Depends(container)]


async def named_tenant(request: Request, parts: Parts) -> Tenant:
    """The tenant of the header."""
    header = parts.settings.tenant_header
    reference = request.headers.get(header, "").strip()
    if not reference:
        raise MissingTenant(f"Which tenant? Send its id or slug in the `{header}` header.")
    return await parts.tenants.get_by_reference(reference)


NamedTenant = Annotated[Tenant, Depends(named_tenant)]


async def client_address(request: Request) -> str:
    """Who asks. `X-Forwarded-For` is believed from the gateway only; its last entry is what that saw."""
    peer = request.client.host if request.client is not None else ""
    forwarded = request.headers.get("x-forwarded-for", "")
    if forwarded and is_internal(request):
        peer = forwarded.rpartition(",")[2].strip()
    return limited_address(peer)


ClientAddress = Annotated[str, Depends(client_address)]


async def _no_store(response: Response) -> None:
    """Answers with tokens are never cached (RFC 6749 §5.1)."""
    response.headers["Cache-Control"] = "no-store"


@router.post(
    "/v1/auth/request-code",
    tags=["auth"],
    summary="Send a sign-in code to an e-mail address",
    status_code=202,
    responses=problem_responses(400, 404, 422, 429, 503),
    openapi_extra=_TENANT_PARAMETER,
    operation_id="requestCode",
)
async def request_code(body: CodeRequestBody, tenant: NamedTenant, address: ClientAddress, parts: Parts) -> CodeSent:
    """Mails a six-digit code that is good for ten minutes, once, and for five guesses.

    A newer code replaces an older one. The answer is the same for addresses with and without an account.
    """
    lifetime = await parts.sign_in.request_code(tenant, body.address, address)
    return CodeSent(expires_in=int(lifetime.total_seconds()))


@router.post(
    "/v1/auth/verify-code",
    tags=["auth"],
    summary="Exchange a sign-in code for tokens",
    responses=problem_responses(400, 401, 404, 422, 429, 503),
    openapi_extra=_TENANT_PARAMETER,
    operation_id="verifyCode",
    dependencies=[Depends(_no_store)],
)
async def verify_code(body: CodeVerifyBody, tenant: NamedTenant, address: ClientAddress, parts: Parts) -> Tokens:
    """Signs in. Where sign-up is open, a new address becomes a member; the tenant's first user becomes its owner."""
    return Tokens.of(await parts.sign_in.verify_code(tenant, body.address, body.code.strip(), address))


@router.post(
    "/v1/auth/refresh",
    tags=["auth"],
    summary="Exchange a refresh token for new tokens",
    responses=problem_responses(400, 401, 404, 422, 503),
    openapi_extra=_TENANT_PARAMETER,
    operation_id="refreshTokens",
    dependencies=[Depends(_no_store)],
)
async def refresh(body: RefreshBody, tenant: NamedTenant, parts: Parts) -> Tokens:
    """A refresh token works once. Using it again revokes every token of its sign-in (`refresh_token_reused`)."""
    return Tokens.of(await parts.sessions.refresh(tenant, body.refresh_token))


@router.post(
    "/v1/auth/logout",
    tags=["auth"],
    summary="Revoke a sign-in",
    status_code=204,
    responses=problem_responses(400, 404, 422, 503),
    openapi_extra=_TENANT_PARAMETER,
    operation_id="logout",
)
async def logout(body: RefreshBody, tenant: NamedTenant, parts: Parts) -> None:
    """Revokes every refresh token of the sign-in. Access tokens end by themselves. An unknown token is no error."""
    await parts.sessions.end(tenant, body.refresh_token)


@router.get(
    "/v1/users/me",
    tags=["users"],
    summary="The signed-in user",
    responses=problem_responses(401, 403, 503),
    operation_id="getMe",
)
async def me(principal: CurrentPrincipal, parts: Parts) -> Me:
    """The user and tenant of the access token."""
    return Me.of(*await parts.profiles.get_own(principal.tenant_id, principal.user_id))


@router.get(
    "/.well-known/jwks.json",
    tags=["auth"],
    summary="The public keys that verify access tokens",
    response_model=JsonWebKeySet,
    response_model_exclude_none=True,
    responses=problem_responses(503),
    operation_id="getJwks",
)
async def jwks(response: Response, parts: Parts) -> dict[str, Any]:
    """A JSON Web Key Set (RFC 7517). A new key appears here before it signs its first token."""
    response.headers["Cache-Control"] = f"public, max-age={int(parts.keys.max_age.total_seconds())}"
    return {"keys": await parts.keys.published()}
