"""HTTP: groups and who is in them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from docuchat_auth.groups.errors import GroupNameTaken, GroupNotFound, TooManyGroups
from docuchat_auth.groups.schemas import GroupBody, GroupView, MembershipView
from docuchat_auth.groups.service import Groups
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import UserId

router = APIRouter(tags=["groups"], route_class=JsonRoute, prefix="/v1/groups")


Service = Annotated[Groups, provided("groups")]
Admin = Annotated[Caller, requires("groups.manage")]


@router.post("", summary="Create a group", status_code=201, response_model=GroupView, operation_id="createGroup")
@raises(GroupNameTaken, *IDEMPOTENCY_ERRORS)
@audited("group.create")
async def create_group(body: GroupBody, caller: Admin, groups: Service, creating: CurrentCreation) -> Response:
    """A group without members."""
    return await creating.once(
        caller,
        body,
        lambda settle: groups.create(caller, body.name, settle),
        lambda group: created(GroupView.of(group)),
        about=lambda group: group.id,
    )


@router.get("", summary="List groups", operation_id="listGroups")
async def list_groups(caller: Admin, groups: Service, paging: Paging) -> Page[GroupView]:
    """The tenant's groups, in the order in which they were made."""
    found = await groups.list_after(caller.tenant_id, paging.after(1, UUID), paging.rows)
    return paging.page(found, GroupView.of, lambda group: (group.id,))


@router.get("/{group_id}", summary="Get a group", operation_id="getGroup")
@raises(GroupNotFound)
async def get_group(group_id: UUID, caller: Admin, groups: Service) -> GroupView:
    """A group and how many are in it."""
    return GroupView.of(await groups.get(caller.tenant_id, group_id))


@router.patch("/{group_id}", summary="Rename a group", operation_id="renameGroup")
@raises(GroupNotFound, GroupNameTaken)
@audited("group.rename")
async def rename_group(group_id: UUID, body: GroupBody, caller: Admin, groups: Service) -> GroupView:
    """Give a group another name."""
    return GroupView.of(await groups.rename(caller, group_id, body.name))


@router.delete("/{group_id}", summary="Delete a group", status_code=204, operation_id="deleteGroup")
@raises(GroupNotFound)
@audited("group.delete")
async def delete_group(group_id: UUID, caller: Admin, groups: Service) -> None:
    """Its members lose within seconds what it gave them."""
    await groups.delete(caller, group_id)


@router.get("/{group_id}/members", summary="List a group's members", operation_id="listGroupMembers")
@raises(GroupNotFound)
async def list_members(group_id: UUID, caller: Admin, groups: Service, paging: Paging) -> Page[MembershipView]:
    """Who is in a group, by id."""
    after = paging.after(1, lambda text: UserId(UUID(text)))
    found = await groups.list_members(caller.tenant_id, group_id, after, paging.rows)
    return paging.page(found, MembershipView.of, lambda member: (member.user_id,))


@router.put("/{group_id}/members/{user_id}", summary="Add a user", status_code=204, operation_id="addGroupMember")
@raises(GroupNotFound, UserNotFound, TooManyGroups)
@audited("group.add_member")
async def add_member(group_id: UUID, user_id: UUID, caller: Admin, groups: Service) -> None:
    """The user's access tokens end within seconds; refreshed ones name the group. Adding a member again is no error."""
    await groups.add_member(caller, group_id, UserId(user_id))


@router.delete(
    "/{group_id}/members/{user_id}", summary="Remove a user", status_code=204, operation_id="removeGroupMember"
)
@raises(GroupNotFound)
@audited("group.remove_member")
async def remove_member(group_id: UUID, user_id: UUID, caller: Admin, groups: Service) -> None:
    """The user loses within seconds what the group gave. Removing who is not in it is no error."""
    await groups.remove_member(caller, group_id, UserId(user_id))
