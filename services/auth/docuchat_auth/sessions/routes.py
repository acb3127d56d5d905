"""HTTP: stay signed in, and sign out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from docuchat_auth.http import NoStore
from docuchat_auth.sessions.schemas import RefreshBody, Tokens
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.routes import TENANT_PARAMETER, NamedTenant
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import problem_responses

router = APIRouter(route_class=JsonRoute, tags=["auth"])


async def _sessions(request: Request) -> Sessions:
    found: Sessions = request.app.state.container.sessions
    return found


Service = Annotated[Sessions, Depends(_sessions)]


@router.post(
    "/v1/auth/refresh",
    summary="Exchange a refresh token for new tokens",
    responses=problem_responses(400, 401, 404, 422, 503),
    openapi_extra=TENANT_PARAMETER,
    operation_id="refreshTokens",
    dependencies=[NoStore],
)
async def refresh(body: RefreshBody, tenant: NamedTenant, sessions: Service) -> Tokens:
    """A refresh token works once. Using it again revokes every token of its sign-in (`refresh_token_reused`)."""
    return Tokens.of(await sessions.refresh(tenant, body.refresh_token))


@router.post(
    "/v1/auth/logout",
    summary="Revoke a sign-in",
    status_code=204,
    responses=problem_responses(400, 404, 422, 503),
    openapi_extra=TENANT_PARAMETER,
    operation_id="logout",
)
async def logout(body: RefreshBody, tenant: NamedTenant, sessions: Service) -> None:
    """Revoke every refresh token of the sign-in. Access tokens end by themselves. An unknown token is no error."""
    await sessions.end(tenant, body.refresh_token)
