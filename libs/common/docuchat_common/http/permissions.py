"""Who may do what to what: the one function that decides, so that a table of permissions can take its place."""

from dataclasses import dataclass
from uuid import UUID

from docuchat_common.errors import Forbidden
from docuchat_common.http.caller import Action, Caller
from docuchat_common.ids import TenantId


class NotAllowed(Forbidden):
    """Only who uploaded this, an admin or the owner of the tenant may do that."""

    code = "not_allowed"


@dataclass(frozen=True, slots=True)
class Resource:
    """What an action is about; `belongs_to` is the id of the subject that made it, None when nobody knows."""

    tenant_id: TenantId
    belongs_to: UUID | None


_FOR_OTHERS: dict[Action, Action] = {"documents.add": "documents.manage"}
"""What one must be allowed besides, when the resource is somebody else's."""


def may(caller: Caller, action: Action, resource: Resource) -> bool:
    """Whether `caller` may do `action` to `resource`."""
    if caller.tenant_id != resource.tenant_id:
        return False
    own = resource.belongs_to is not None and resource.belongs_to == caller.subject_id
    return caller.can(action if own else _FOR_OTHERS.get(action, action))


def require(caller: Caller, action: Action, resource: Resource) -> None:
    """Raise NotAllowed unless `caller` may do `action` to `resource`."""
    if not may(caller, action, resource):
        raise NotAllowed
