"""HTTP: stay signed in, and sign out."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from docuchat_auth.http import NoStore
from docuchat_auth.sessions.errors import (
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionNotFound,
    TooManyRefreshes,
)
from docuchat_auth.sessions.schemas import RefreshBody, SessionView, Tokens
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided

router = APIRouter(route_class=JsonRoute)


Service = Annotated[Sessions, provided("sessions")]
Self = Annotated[Caller, requires("account.use")]


@router.post(
    "/v1/auth/refresh",
    summary="Exchange a refresh token for new tokens",
    openapi_extra=TENANT_PARAMETER,
    operation_id="refreshTokens",
    tags=["auth"],
    dependencies=[NoStore],
)
@public
@raises(InvalidRefreshToken, RefreshTokenReused, TooManyRefreshes, UserGone, NoSigningKey)
@audited("session.refresh")
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
    tags=["auth"],
)
@public
@audited("session.end")
async def logout(body: RefreshBody, tenant: PersonsTenant, sessions: Service) -> None:
    """End the sign-in: its refresh tokens at once, its access tokens within seconds. An unknown token is no error."""
    await sessions.end(tenant, body.refresh_token)


@router.get("/v1/sessions", summary="List one's sessions", operation_id="listSessions", tags=["users"])
@raises(UserGone)
async def list_sessions(caller: Self, sessions: Service, paging: Paging) -> Page[SessionView]:
    """One's sign-ins that go on, the newest first."""
    found = await sessions.list_own(caller, paging.after(1, UUID), paging.rows)
    return paging.page(found, lambda one: SessionView.of(one, caller.session_id), lambda session: (session.id,))


@router.delete(
    "/v1/sessions/{session_id}", summary="End a session", status_code=204, operation_id="endSession", tags=["users"]
)
@raises(SessionNotFound, UserGone)
@audited("session.end")
async def end_session(session_id: UUID, caller: Self, sessions: Service) -> None:
    """Its refresh tokens end at once, its access tokens and open sockets within seconds."""
    await sessions.end_own(caller, session_id)


@router.delete(
    "/v1/sessions", summary="End all other sessions", status_code=204, operation_id="endOtherSessions", tags=["users"]
)
@raises(UserGone)
@audited("session.end_others")
async def end_other_sessions(caller: Self, sessions: Service) -> None:
    """Leaves the one that asks."""
    await sessions.end_others(caller)
