"""HTTP: who am I."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from docuchat_auth.users.errors import UserGone
from docuchat_auth.users.schemas import Me, OwnChange
from docuchat_auth.users.service import Profiles
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises

router = APIRouter(tags=["users"], route_class=JsonRoute)


async def _profiles(request: Request) -> Profiles:
    found: Profiles = request.app.state.container.profiles
    return found


@router.get(
    "/v1/users/me",
    summary="The signed-in user",
    operation_id="getMe",
)
@raises(UserGone)
async def me(
    caller: Annotated[Caller, requires("account.use")], profiles: Annotated[Profiles, Depends(_profiles)]
) -> Me:
    """The user and tenant of the access token."""
    return Me.of(*await profiles.get_own(caller.tenant_id, caller.user_id))


@router.patch("/v1/users/me", summary="Change what one is called", operation_id="changeMe")
@raises(UserGone)
@audited("user.rename")
async def change_me(
    body: OwnChange,
    caller: Annotated[Caller, requires("account.use")],
    profiles: Annotated[Profiles, Depends(_profiles)],
) -> Me:
    """The signed-in user's name for people."""
    return Me.of(*await profiles.rename(caller.tenant_id, caller.user_id, body.name))
