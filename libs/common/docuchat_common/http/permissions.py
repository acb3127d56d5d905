"""Who may do what to what. Each operation names its permission once, and that both asks for it and describes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from docuchat_common.contracts.permissions import ENROLMENT, PERMISSIONS, VISITOR, Action, Permission
from docuchat_common.http.caller import Caller, NotAllowed, SecondFactorRequired
from docuchat_common.http.identity import CurrentIdentity, OriginNotAllowed, assert_same_origin
from docuchat_common.http.problems import raises
from docuchat_common.ids import TenantId

EXTENSION: Final = "x-permission"
"""Where the OpenAPI document says what an operation asks of its caller."""
READ: Final = "x-read"
"""What it says of an operation that changes nothing of the tenant's, whatever its method."""

_F = TypeVar("_F", bound=Callable[..., Any])


def requires(action: Action, *, is_read: bool = False) -> Any:
    """Make a dependency that is the caller, and refuses who may not do `action`.

    What `is_read` whatever its method says changes nothing that is the tenant's, so a suspended one may do it.
    """
    of_visitors = (OriginNotAllowed,) if action in PERMISSIONS[VISITOR] else ()

    @raises(NotAllowed, *(() if action in ENROLMENT else (SecondFactorRequired,)), *of_visitors)
    async def permitted(request: Request, identity: CurrentIdentity) -> Caller:
        request.app.state.container.verifier.permit(identity, action, "GET" if is_read else request.method)
        assert_same_origin(identity, request.headers)
        return identity.caller

    vars(permitted).update(permission=action, is_read=is_read)
    return Depends(permitted)


def public(endpoint: _F) -> _F:
    """Say that a route is for everybody."""
    vars(endpoint)["permission"] = "public"
    return endpoint


def extensions_of(route: Dependant) -> dict[str, Any]:
    """What the OpenAPI document says of who may; nothing when the route does not."""
    permission: Permission | None = getattr(route.call, "permission", None)
    if permission is None:
        return next(filter(None, map(extensions_of, route.dependencies)), {})
    return {EXTENSION: permission} | ({READ: True} if getattr(route.call, "is_read", False) else {})


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is about; `belongs_to` is the user or service's key that made it, None when nobody knows."""

    tenant_id: TenantId
    belongs_to: UUID | None


_FOR_OTHERS: dict[Action, Action] = {"documents.add": "documents.manage"}
"""What one must be allowed besides, when the resource is somebody else's."""


def may(caller: Caller, action: Action, resource: Resource) -> bool:
    """Whether `caller` may do `action` to `resource`."""
    if caller.tenant_id != resource.tenant_id:
        return False
    own = resource.belongs_to is not None and resource.belongs_to in {caller.maker_id, caller.service_key_id}
    return caller.can(action if own else _FOR_OTHERS.get(action, action))


def require(caller: Caller, action: Action, resource: Resource) -> None:
    """Raise NotAllowed unless `caller` may do `action` to `resource`."""
    if not may(caller, action, resource):
        raise NotAllowed
