"""HTTP: the people of a tenant."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.members.schemas import MemberChangeBody
from docuchat_auth.members.service import Members
from docuchat_auth.users.domain import Email, UserFilter
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.schemas import Address, UserView
from docuchat_auth.users.service import UserDirectory
from docuchat_common.audit import audited
from docuchat_common.contracts.permissions import Role
from docuchat_common.contracts.users import PATH
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId, UserId

router = APIRouter(tags=["users"], route_class=JsonRoute, prefix="/v1/users")
inside = APIRouter(route_class=JsonRoute, dependencies=[InternalCaller], include_in_schema=False)


Service = Annotated[Members, provided("members")]
Directory = Annotated[UserDirectory, provided("users")]
Admin = Annotated[Caller, requires("users.manage")]


@router.get("", summary="List the tenant's users", operation_id="listMembers")
async def list_members(
    caller: Annotated[Caller, requires("users.read")],
    directory: Directory,
    paging: Paging,
    email: Annotated[Address | None, Query(description="Only the user of this address.")] = None,
    role: Annotated[Role | None, Query(description="Only users of this role.")] = None,
    active: Annotated[bool | None, Query(description="Only those who may sign in, or only the others.")] = None,
) -> Page[UserView]:
    """The tenant's users, in the order in which they joined."""
    wanted = UserFilter(None if email is None else Email(email), role=role, is_active=active)
    after = paging.after(1, lambda text: UserId(UUID(text)))
    found = await directory.list_after(caller.tenant_id, after, wanted, paging.rows)
    return paging.page(found, UserView.of, lambda user: (user.id,))


@router.patch("/{user_id}", summary="Change a user's role, or deactivate a user", operation_id="changeMember")
@raises(UserNotFound, OwnersOnly, LastOwner)
@audited("user.change")
async def change_member(user_id: UUID, body: MemberChangeBody, caller: Admin, members: Service) -> UserView:
    """Within seconds no older access token works; one that is refreshed says the new role.

    Deactivation ends all sessions, also open sockets. Only an owner makes or changes owners, and the last one stays;
    no API key makes, changes or removes an admin.
    """
    return UserView.of(await members.change(caller.tenant_id, UserId(user_id), body.change(), caller))


@router.delete("/{user_id}", summary="Remove a user", status_code=204, operation_id="removeMember")
@raises(UserNotFound, OwnersOnly, LastOwner, InvalidHandOver)
@audited("user.remove")
async def remove_member(
    user_id: UUID,
    caller: Admin,
    members: Service,
    hand_over_to: Annotated[
        UUID | None, Query(description="The user who gets the removed one's documents; without it they are deleted.")
    ] = None,
) -> None:
    """Ends all sessions, also open sockets, within seconds; the user's API keys end with the user.

    Documents, and collections that the user made, go to whom they are handed over, or the documents are deleted and the
    collections are their admins'. Chats are private and are deleted in any case. It is done within minutes.
    """
    heir = None if hand_over_to is None else UserId(hand_over_to)
    await members.remove(caller.tenant_id, UserId(user_id), caller, hand_over_to=heir)


@inside.get(PATH, status_code=204)
async def require_member(tenant_id: int, user_id: UUID, directory: Directory) -> None:
    """Whether the tenant has this user. Raises UserNotFound."""
    await directory.require(TenantId(tenant_id), UserId(user_id))
