"""HTTP: stay signed in, and sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from docuchat_auth.http import NoStore
from docuchat_auth.sessions.errors import InvalidRefreshToken, RefreshTokenReused
from docuchat_auth.sessions.schemas import RefreshBody, Tokens
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises

router = APIRouter(route_class=JsonRoute, tags=["auth"])


async def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.container.sessions
    return found


Service = Annotated[Sessions, Depends(_sessions)]


@router.post(
    "/v1/auth/refresh",
    summary="Exchange a refresh token for new tokens",
    openapi_extra=TENANT_PARAMETER,
    operation_id="refreshTokens",
    dependencies=[NoStore],
)
@public
@raises(InvalidRefreshToken, RefreshTokenReused, NoSigningKey)
async def refresh(body: RefreshBody, tenant: PersonsTenant, sessions: Service) -> Tokens:
    """The token that comes back replaces the one that was sent.

    Until it is used the older one may be sent again and yields the same, so that a lost answer costs nothing. After
    that sending the older one revokes every token of the sign-in (`refresh_token_reused`).
    """
    return Tokens.of(await sessions.refresh(tenant, body.refresh_token))


@router.post(
    "/v1/auth/logout",
    summary="Revoke a sign-in",
    status_code=204,
    openapi_extra=TENANT_PARAMETER,
    operation_id="logout",
)
@public
async def logout(body: RefreshBody, tenant: PersonsTenant, sessions: Service) -> None:
    """End the sign-in: its refresh tokens at once, its access tokens within seconds. An unknown token is no error."""
    await sessions.end(tenant, body.refresh_token)
