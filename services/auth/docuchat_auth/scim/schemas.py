"""Resources and messages of SCIM (RFC 7643, RFC 7644)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from docuchat_auth.scim.domain import ScimGroup, ScimUser, user_name_of

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
PATH: Final = "/scim/v2"


class ScimBody(BaseModel):
    """What a directory sends: what is not of interest here is passed over (RFC 7644 §3.3)."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ScimUserBody(ScimBody):
    """A user as a directory has it."""

    userName: str | None = Field(default=None, max_length=254, examples=["ann@acme.example"])  # noqa: N815 - its name
    externalId: str | None = None  # noqa: N815 - as above
    displayName: str | None = None  # noqa: N815 - as above
    name: dict[str, Any] | None = None
    active: bool | str | None = None


class ScimMemberBody(ScimBody):
    """A member, by the user's `id`."""

    value: str = Field(max_length=100)


class ScimGroupBody(ScimBody):
    """A group as a directory has it."""

    displayName: str | None = Field(default=None, max_length=200, examples=["Legal"])  # noqa: N815 - its name
    externalId: str | None = None  # noqa: N815 - as above
    members: list[ScimMemberBody] | None = None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Operation(ScimBody):
    """One change."""

    op: Annotated[Literal["add", "remove", "replace"], BeforeValidator(_lower)]
    path: str | None = Field(default=None, max_length=300)
    value: Any = None


class ScimPatchBody(ScimBody):
    """Changes, one after the other."""

    Operations: list[Operation] = Field(min_length=1, max_length=100)

    def operations(self) -> list[tuple[str, str | None, Any]]:
        """As the rules read them."""
        return [(one.op, one.path, one.value) for one in self.Operations]


class ScimRefusal(BaseModel):
    """What was wrong."""

    schemas: list[str] = [ERROR]
    status: str = Field(examples=["404"])
    detail: str
    code: str = Field(description="As everywhere in this API.", examples=["user_not_found"])
    scimType: str | None = None  # noqa: N815 - its name


class Meta(BaseModel):
    """About a resource."""

    resourceType: Literal["User", "Group"]  # noqa: N815 - its name
    created: datetime
    location: str


class UserMeta(Meta):
    """About a user."""

    lastModified: datetime  # noqa: N815 - its name


class EmailView(BaseModel):
    """An address."""

    value: str
    primary: bool = True


class NameView(BaseModel):
    """What somebody is called."""

    formatted: str


class ScimUserResource(BaseModel):
    """A user."""

    schemas: list[str] = [USER]
    id: UUID
    externalId: str | None = None  # noqa: N815 - its name
    userName: str  # noqa: N815 - as above
    displayName: str | None = None  # noqa: N815 - as above
    name: NameView | None = None
    active: bool
    emails: list[EmailView]
    meta: UserMeta

    @classmethod
    def of(cls, found: ScimUser, public_url: str) -> "ScimUserResource":
        """Present a user."""
        user = found.user
        address = user.email or user.claimed_email
        return cls(
            id=user.id,
            externalId=found.external_id,
            userName=user_name_of(user),
            displayName=user.name,
            name=None if user.name is None else NameView(formatted=user.name),
            active=user.is_active,
            emails=[] if address is None else [EmailView(value=address)],
            meta=UserMeta(
                resourceType="User",
                created=user.created_at,
                lastModified=user.updated_at,
                location=f"{public_url}{PATH}/Users/{user.id}",
            ),
        )


class ScimMemberView(BaseModel):
    """A member."""

    value: UUID


class ScimGroupResource(BaseModel):
    """A group; its members are told of one group, not in lists."""

    schemas: list[str] = [GROUP]
    id: UUID
    externalId: str | None = None  # noqa: N815 - its name
    displayName: str  # noqa: N815 - as above
    members: list[ScimMemberView]
    meta: Meta

    @classmethod
    def of(cls, found: ScimGroup, public_url: str) -> "ScimGroupResource":
        """Present a group."""
        group = found.group
        return cls(
            id=group.id,
            externalId=found.external_id,
            displayName=group.name,
            members=[ScimMemberView(value=member) for member in found.members],
            meta=Meta(resourceType="Group", created=group.created_at, location=f"{public_url}{PATH}/Groups/{group.id}"),
        )


class _List(BaseModel):
    schemas: list[str] = [LIST]
    totalResults: int  # noqa: N815 - its name
    startIndex: int  # noqa: N815 - as above
    itemsPerPage: int  # noqa: N815 - as above


class ScimUserList(_List):
    """A page of users."""

    Resources: list[ScimUserResource]


class ScimGroupList(_List):
    """A page of groups."""

    Resources: list[ScimGroupResource]


def _attribute(name: str, kind: str = "string", *, many: bool = False, **more: Any) -> dict[str, Any]:
    plain = {"required": False, "caseExact": False, "mutability": "readWrite", "returned": "default"}
    return {"name": name, "type": kind, "multiValued": many, "uniqueness": "none", **plain, **more}


def _sub(name: str) -> dict[str, Any]:
    return _attribute(name)


SCHEMAS: Final[Sequence[dict[str, Any]]] = (
    {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": USER,
        "name": "User",
        "attributes": [
            _attribute("userName", required=True, uniqueness="server", mutability="immutable"),
            _attribute("displayName"),
            _attribute("name", "complex", subAttributes=[_sub("formatted"), _sub("givenName"), _sub("familyName")]),
            _attribute("active", "boolean"),
            _attribute("externalId", caseExact=True),
            _attribute("emails", "complex", many=True, mutability="readOnly", subAttributes=[_sub("value")]),
        ],
    },
    {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": GROUP,
        "name": "Group",
        "attributes": [
            _attribute("displayName", required=True, uniqueness="server"),
            _attribute("externalId", caseExact=True),
            _attribute("members", "complex", many=True, subAttributes=[_sub("value")]),
        ],
    },
)
RESOURCE_TYPES: Final[Sequence[dict[str, Any]]] = tuple(
    {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": f"/{name}s",
        "schema": schema,
    }
    for name, schema in (("User", USER), ("Group", GROUP))
)
CONFIGURATION: Final[dict[str, Any]] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": 200},
    "changePassword": {"supported": False},
    "sort": {"supported": False},
    "etag": {"supported": False},
    "authenticationSchemes": [
        {"type": "oauthbearertoken", "name": "API key", "description": "A service's API key with directory.sync."}
    ],
}


def listed(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A list that does not page."""
    return {
        "schemas": [LIST],
        "totalResults": len(items),
        "startIndex": 1,
        "itemsPerPage": len(items),
        "Resources": list(items),
    }
