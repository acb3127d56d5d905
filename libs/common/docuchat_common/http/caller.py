"""Who asks: a user, a visitor, an API key or an operator. No use case and no table assumes a user."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from docuchat_common.ids import TenantId, UserId

SubjectType = Literal["user", "visitor", "key", "operator"]
Action = Literal["documents.read", "documents.add", "documents.manage", "chats.use", "usage.read", "usage.manage"]
"""What a permission allows; `…manage` is about what belongs to others of the tenant."""

NO_TENANT: Final = TenantId(0)
"""The tenant of an operator: row-level security shows it no rows."""

_EVERYBODY: Final[frozenset[Action]] = frozenset({"documents.read", "documents.add", "chats.use", "usage.read"})
_ADMINISTRATION: Final[frozenset[Action]] = _EVERYBODY | {"documents.manage", "usage.manage"}
_BY_ROLE: Final[dict[str, frozenset[Action]]] = {
    "owner": _ADMINISTRATION,
    "admin": _ADMINISTRATION,
    "member": _EVERYBODY,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, inside which tenant, with which rights."""

    tenant_id: TenantId
    subject_type: SubjectType
    subject_id: UUID
    role: str | None = None
    """The role in the tenant; None for an operator, who has none."""
    scopes: frozenset[str] | None = None
    """What the credential was made for; None when it has all rights of its role."""

    @property
    def user_id(self) -> UserId | None:
        """The user's id; None when the caller is no user."""
        return UserId(self.subject_id) if self.subject_type == "user" else None

    @property
    def subject(self) -> str:
        """A name of the caller that is unique over all tenants, for keys of caches, limits and repeats."""
        return f"{self.tenant_id}:{self.subject_type}:{self.subject_id}"

    def can(self, action: Action) -> bool:
        """Whether role and scopes both allow `action`; an unknown role allows nothing."""
        if self.scopes is not None and action not in self.scopes:
            return False
        return action in _BY_ROLE.get(self.role or "", frozenset())
