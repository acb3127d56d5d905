"""Who asks: a user, an API key, a chatbot's program, a visitor or an operator. No use case or table assumes a user."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from uuid import UUID

from docuchat_common.contracts.permissions import ENROLMENT, IMPLIED, PERMISSIONS, PERSONAL, Action
from docuchat_common.errors import Forbidden
from docuchat_common.ids import TenantId, UserId

SubjectType = Literal["user", "visitor", "key", "chatbot", "operator"]

NO_TENANT: Final = TenantId(0)
"""The tenant of an operator: row-level security shows it no rows."""


class NotAllowed(Forbidden):
    """Your role, or the scopes of your key, do not allow this; ask an admin or the owner of the tenant."""

    code = "not_allowed"


class SecondFactorRequired(Forbidden):
    """Your tenant demands a second factor: set one up (/v1/users/me/second-factor), then refresh the token."""

    code = "second_factor_required"


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
    groups: frozenset[UUID] = frozenset()
    """The groups of the tenant that the caller is in."""
    session_id: UUID | None = None
    """The sign-in that the credential comes from; None when it comes from none."""
    version: int = 0
    """The state of the user that the credential was made of; it grows with each change of rights."""
    owner_id: UUID | None = None
    """The user whose API key this is; None for a user, and for a key of the tenant's own."""
    collections: tuple[UUID, ...] | None = None
    """What a transaction for the caller reads, whoever asks: exactly these collections of the tenant, and it writes to
    none. None: what the caller may read and write."""
    chatbot_id: UUID | None = None
    """The chatbot whose key or whose visitor this is; None for everybody else."""
    key_id: UUID | None = None
    """The API key with which a chatbot's program comes; None for everybody else."""

    @property
    def user_id(self) -> UserId | None:
        """The user's id; None when the caller is no user."""
        return UserId(self.subject_id) if self.subject_type == "user" else None

    @property
    def subjects(self) -> tuple[tuple[Any, UUID], ...]:
        """Who pays for what the caller uses, besides the tenant.

        A user's key uses the user's share with its own, and so do a chatbot's key and visitor with the chatbot's.
        """
        if self.subject_type == "operator":
            return ()
        others = ("user", self.owner_id), ("chatbot", self.chatbot_id), ("key", self.key_id)
        named = {kind: subject for kind, subject in others if subject is not None}
        return tuple(({self.subject_type: self.subject_id} | named).items())

    @property
    def maker_id(self) -> UUID | None:
        """Whose it is what the caller makes: a user's key makes for the user, a service's for the tenant alone."""
        return self.owner_id if self.subject_type == "key" else self.subject_id

    @property
    def service_key_id(self) -> UUID | None:
        """The API key of the tenant's own that asks; None for a user, and for a user's key."""
        return self.subject_id if self.subject_type == "key" and self.owner_id is None else None

    @property
    def subject(self) -> str:
        """A name of the caller that is unique over all tenants, for keys of caches, limits and repeats."""
        return f"{self.tenant_id}:{self.subject_type}:{self.subject_id}"

    @property
    def holder(self) -> str:
        """As `subject`, for what one person may use at once: all keys of a user count as the user."""
        if self.owner_id is None:
            return self.subject
        return f"{self.tenant_id}:user:{self.owner_id}"

    def can(self, action: Action) -> bool:
        """Whether role and scopes both allow `action`; an unknown role allows nothing, and no key what is personal."""
        if self.subject_type == "key" and action in PERSONAL:
            return False
        if self.scopes is not None and self.scopes.isdisjoint((action, *IMPLIED.get(action, ()))):
            return False
        return action in PERMISSIONS.get(self.role or "", frozenset())

    def require(self, action: Action) -> None:
        """Raise NotAllowed, or SecondFactorRequired where only that is missing, unless the caller `can`."""
        if self.can(action):
            return
        is_enrolling = self.subject_type == "user" and self.scopes == ENROLMENT
        raise SecondFactorRequired if is_enrolling and replace(self, scopes=None).can(action) else NotAllowed
