"""HTTP: at which identity providers somebody is known."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from docuchat_auth.links.errors import LinkedIdentityNotFound
from docuchat_auth.links.schemas import LinkedIdentityList, LinkedIdentityView
from docuchat_auth.links.service import Links
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.users.errors import UserGone, UserNotFound
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.ids import UserId

router = APIRouter(tags=["users"], route_class=JsonRoute, prefix="/v1/users")


Service = Annotated[Links, provided("links")]
Self = Annotated[Caller, requires("account.use")]
Admin = Annotated[Caller, requires("users.manage")]


@router.get("/me/identities", summary="List one's links to identity providers", operation_id="listOwnIdentities")
@raises(UserGone)
async def list_own_identities(caller: Self, links: Service) -> LinkedIdentityList:
    """By which identity providers one can sign in, and since when."""
    return LinkedIdentityList(items=[LinkedIdentityView.of(one) for one in await links.list_of(caller, None)])


@router.delete(
    "/me/identities/{provider_id}",
    summary="Cut one's link to an identity provider",
    status_code=204,
    operation_id="cutOwnIdentity",
)
@raises(UserGone, RecentSignInRequired, LinkedIdentityNotFound)
@audited("user.unlink")
async def cut_own_identity(provider_id: UUID, caller: Self, links: Service) -> None:
    """All other sessions end. Who comes by it again is linked or joins anew, by the tenant's rules."""
    await links.cut(caller, None, provider_id)


@router.get(
    "/{user_id}/identities", summary="List somebody's links to identity providers", operation_id="listIdentities"
)
@raises(UserNotFound)
async def list_identities(user_id: UUID, caller: Admin, links: Service) -> LinkedIdentityList:
    """By which identity providers this user can sign in, and since when."""
    found = await links.list_of(caller, UserId(user_id))
    return LinkedIdentityList(items=[LinkedIdentityView.of(one) for one in found])


@router.delete(
    "/{user_id}/identities/{provider_id}",
    summary="Cut somebody's link to an identity provider",
    status_code=204,
    operation_id="cutIdentity",
)
@raises(UserNotFound, OwnersOnly, RecentSignInRequired, LinkedIdentityNotFound)
@audited("user.unlink")
async def cut_identity(user_id: UUID, provider_id: UUID, caller: Admin, links: Service) -> None:
    """The user's sessions end. Only an owner cuts those of owners."""
    await links.cut(caller, UserId(user_id), provider_id)
