"""HTTP: SCIM 2.0 for a company's directory."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from docuchat_auth.groups.errors import GroupNotFound, TooManyGroups
from docuchat_auth.groups.service import Groups
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import Members
from docuchat_auth.scim.domain import MOST_ITEMS
from docuchat_auth.scim.errors import (
    ScimInvalidFilter,
    ScimInvalidPath,
    ScimInvalidSyntax,
    ScimInvalidValue,
    ScimMutability,
    ScimUniqueness,
)
from docuchat_auth.scim.filters import parse_filter, read_group, read_group_patch, read_user, read_user_patch
from docuchat_auth.scim.schemas import (
    CONFIGURATION,
    PATH,
    RESOURCE_TYPES,
    SCHEMAS,
    ScimGroupBody,
    ScimGroupList,
    ScimGroupResource,
    ScimPatchBody,
    ScimRefusal,
    ScimUserBody,
    ScimUserList,
    ScimUserResource,
    listed,
)
from docuchat_auth.scim.service import Provisioning
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.audit import audited
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises, response_for, with_problems
from docuchat_common.http.provided import provided
from docuchat_common.ids import UserId


class ScimResponse(JSONResponse):
    """JSON under the name that SCIM gives it."""

    media_type = "application/scim+json"


class ScimRoute(JsonRoute):
    """Tells refusals as SCIM does, with our `code` besides. The gateway's own are problems, as everywhere."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.responses = with_problems(self.responses, ScimInvalidSyntax)  # where others answer 422
        for status, response in self.responses.items():
            if str(status) >= "400" and "content" in response:
                response["model"] = ScimRefusal

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"])
                return _refusal(ScimInvalidSyntax(f"{place}: {first['msg']}"))
            except DocuChatError as error:
                return _refusal(error)

        return told


def _refusal(error: DocuChatError) -> Response:
    plain = response_for(error)
    kept = {name: plain.headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in plain.headers}
    body = ScimRefusal(
        status=str(plain.status_code),
        detail=error.detail,
        code=error.code,
        scimType=getattr(error, "scim_type", None),
    )
    return ScimResponse(body.model_dump(exclude_none=True), plain.status_code, kept)


router = APIRouter(tags=["scim"], route_class=ScimRoute, prefix=PATH, default_response_class=ScimResponse)


Service = Annotated[Provisioning, provided("provisioning")]
PublicUrl = Annotated[str, provided("settings.public_url")]
Directory = Annotated[Caller, requires("directory.sync")]
_Wanted = Annotated[str | None, Query(alias="filter", max_length=500, examples=['userName eq "ann@acme.example"'])]
_Start = Annotated[int, Query(alias="startIndex", ge=-(2**31), le=2**31 - 1, description="From 1.")]
_Count = Annotated[int, Query(ge=-(2**31), le=2**31 - 1, description="At most 200.")]
_Unused = Annotated[str | None, Query(max_length=500, description="Taken and not used.")]
_CHANGES: Final = (OwnersOnly, ScimInvalidValue)


@router.get("/Users", summary="List users", operation_id="scimListUsers")
@raises(ScimInvalidFilter)
async def list_users(
    caller: Directory,
    service: Service,
    public_url: PublicUrl,
    wanted: _Wanted = None,
    start: _Start = 1,
    count: _Count = 100,
    attributes: _Unused = None,
    excludedAttributes: _Unused = None,  # noqa: N803 - its name
) -> ScimUserList:
    """The tenant's users. Filters: `userName`, `externalId` or `id`, `eq` a value."""
    start, limit = max(1, start), min(MOST_ITEMS, max(0, count))
    found, total = await service.list_users(caller.tenant_id, parse_filter(wanted), start - 1, limit)
    resources = [ScimUserResource.of(one, public_url) for one in found]
    return ScimUserList(totalResults=total, startIndex=start, itemsPerPage=len(resources), Resources=resources)


@router.post("/Users", summary="Make a user", status_code=201, operation_id="scimCreateUser")
@raises(ScimUniqueness, *_CHANGES)
@audited("user.provision")
async def create_user(
    body: ScimUserBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimUserResource:
    """A member. The domain of an address must be proven."""
    return ScimUserResource.of(await service.create_user(caller, read_user(body.model_dump())), public_url)


@router.get("/Users/{user_id}", summary="Get a user", operation_id="scimGetUser")
@raises(UserNotFound)
async def get_user(user_id: UUID, caller: Directory, service: Service, public_url: PublicUrl) -> ScimUserResource:
    """One of the tenant's."""
    return ScimUserResource.of(await service.get_user(caller.tenant_id, UserId(user_id)), public_url)


@router.put("/Users/{user_id}", summary="Replace a user", operation_id="scimReplaceUser")
@raises(UserNotFound, ScimMutability, *_CHANGES)
@audited("user.sync")
async def replace_user(
    user_id: UUID, body: ScimUserBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimUserResource:
    """What is left out stays. Deactivation ends all sessions within seconds; an owner is not touched."""
    change = read_user(body.model_dump())
    return ScimUserResource.of(await service.change_user(caller, UserId(user_id), change), public_url)


@router.patch("/Users/{user_id}", summary="Change a user", operation_id="scimPatchUser")
@raises(UserNotFound, ScimMutability, *_CHANGES)
@audited("user.sync")
async def patch_user(
    user_id: UUID, body: ScimPatchBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimUserResource:
    """`active`, names and `externalId`; what else a directory sends is passed over."""
    change = read_user_patch(body.operations())
    return ScimUserResource.of(await service.change_user(caller, UserId(user_id), change), public_url)


@router.delete("/Users/{user_id}", summary="Remove a user", status_code=204, operation_id="scimDeleteUser")
@raises(UserNotFound, OwnersOnly)
@audited("user.remove")
async def delete_user(user_id: UUID, caller: Directory, members: Annotated[Members, provided("members")]) -> Response:
    """With what the user owns. Directories that may bring people back deactivate them instead."""
    await members.remove(caller.tenant_id, UserId(user_id), caller, hand_over_to=None)
    return Response(status_code=204)


@router.get("/Groups", summary="List groups", operation_id="scimListGroups")
@raises(ScimInvalidFilter)
async def list_groups(
    caller: Directory,
    service: Service,
    public_url: PublicUrl,
    wanted: _Wanted = None,
    start: _Start = 1,
    count: _Count = 100,
    attributes: _Unused = None,
    excludedAttributes: _Unused = None,  # noqa: N803 - its name
) -> ScimGroupList:
    """The tenant's groups, without their members. Filters: `displayName`, `externalId` or `id`, `eq` a value."""
    start, limit = max(1, start), min(MOST_ITEMS, max(0, count))
    found, total = await service.list_groups(caller.tenant_id, parse_filter(wanted), start - 1, limit)
    resources = [ScimGroupResource.of(one, public_url) for one in found]
    return ScimGroupList(totalResults=total, startIndex=start, itemsPerPage=len(resources), Resources=resources)


@router.post("/Groups", summary="Make a group", status_code=201, operation_id="scimCreateGroup")
@raises(ScimUniqueness, TooManyGroups, *_CHANGES)
@audited("group.create")
async def create_group(
    body: ScimGroupBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimGroupResource:
    """With its members."""
    return ScimGroupResource.of(await service.create_group(caller, read_group(body.model_dump())), public_url)


@router.get("/Groups/{group_id}", summary="Get a group", operation_id="scimGetGroup")
@raises(GroupNotFound)
async def get_group(
    group_id: UUID,
    caller: Directory,
    service: Service,
    public_url: PublicUrl,
    attributes: _Unused = None,
    excludedAttributes: _Unused = None,  # noqa: N803 - its name
) -> ScimGroupResource:
    """With its members."""
    return ScimGroupResource.of(await service.get_group(caller.tenant_id, group_id), public_url)


@router.put("/Groups/{group_id}", summary="Replace a group", operation_id="scimReplaceGroup")
@raises(GroupNotFound, ScimUniqueness, TooManyGroups, *_CHANGES)
@audited("group.sync")
async def replace_group(
    group_id: UUID, body: ScimGroupBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimGroupResource:
    """Its members are those of the request and nobody else."""
    return ScimGroupResource.of(await service.change_group(caller, group_id, read_group(body.model_dump())), public_url)


@router.patch("/Groups/{group_id}", summary="Change a group", operation_id="scimPatchGroup")
@raises(GroupNotFound, ScimUniqueness, ScimInvalidPath, TooManyGroups, *_CHANGES)
@audited("group.sync")
async def patch_group(
    group_id: UUID, body: ScimPatchBody, caller: Directory, service: Service, public_url: PublicUrl
) -> ScimGroupResource:
    """Its name, and who comes and goes."""
    change = read_group_patch(body.operations())
    return ScimGroupResource.of(await service.change_group(caller, group_id, change), public_url)


@router.delete("/Groups/{group_id}", summary="Delete a group", status_code=204, operation_id="scimDeleteGroup")
@raises(GroupNotFound)
@audited("group.delete")
async def delete_group(group_id: UUID, caller: Directory, groups: Annotated[Groups, provided("groups")]) -> Response:
    """Its members lose within seconds what it gave them."""
    await groups.delete(caller, group_id)
    return Response(status_code=204)


@router.get("/ServiceProviderConfig", summary="What is supported", operation_id="scimConfiguration")
async def configuration(_: Directory) -> dict[str, Any]:
    """Patches and filters; neither bulk nor sorting nor versions."""
    return CONFIGURATION


@router.get("/ResourceTypes", summary="The types of resources", operation_id="scimResourceTypes")
async def resource_types(_: Directory) -> dict[str, Any]:
    """Users and groups."""
    return listed(RESOURCE_TYPES)


@router.get("/Schemas", summary="The schemas of resources", operation_id="scimSchemas")
async def schemas(_: Directory) -> dict[str, Any]:
    """Of users and groups, as far as they are kept."""
    return listed(SCHEMAS)
