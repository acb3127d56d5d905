"""HTTP: who am I."""

from typing import Annotated

from fastapi import APIRouter

from docuchat_auth.users.errors import UserGone
from docuchat_auth.users.schemas import Me, OwnChange
from docuchat_auth.users.service import Profiles
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided

router = APIRouter(tags=["users"], route_class=JsonRoute)


@router.get(
    "/v1/users/me",
    summary="The signed-in user",
    operation_id="getMe",
)
@raises(UserGone)
async def me(
    caller: Annotated[Caller, requires("account.use")], profiles: Annotated[Profiles, provided("profiles")]
) -> Me:
    """The user and tenant of the access token."""
    return Me.of(*await profiles.get_own(caller.tenant_id, caller.user_id))


@router.patch("/v1/users/me", summary="Change what one is called", operation_id="changeMe")
@raises(UserGone)
@audited("user.rename")
async def change_me(
    body: OwnChange,
    caller: Annotated[Caller, requires("account.use")],
    profiles: Annotated[Profiles, provided("profiles")],
) -> Me:
    """The signed-in user's name for people."""
    return Me.of(*await profiles.rename(caller.tenant_id, caller.user_id, body.name))
