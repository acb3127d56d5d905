"""What can go wrong with SCIM. A class docstring is the message that the client reads."""

from typing import ClassVar

from docuchat_common.errors import BadRequest, Conflict


class ScimInvalidValue(BadRequest):
    """A value of the request is not valid."""

    code = "scim_invalid_value"
    scim_type: ClassVar[str] = "invalidValue"


class ScimInvalidSyntax(BadRequest):
    """The request is not what SCIM expects at this address."""

    code = "scim_invalid_syntax"
    scim_type: ClassVar[str] = "invalidSyntax"


class ScimInvalidFilter(BadRequest):
    """Filters are `userName eq "…"`, `displayName eq "…"`, `externalId eq "…"` and `id eq "…"`."""

    code = "scim_invalid_filter"
    scim_type: ClassVar[str] = "invalidFilter"


class ScimInvalidPath(BadRequest):
    """This path of a patch is not known here."""

    code = "scim_invalid_path"
    scim_type: ClassVar[str] = "invalidPath"


class ScimMutability(BadRequest):
    """A `userName` stays what it is; make another user."""

    code = "scim_mutability"
    scim_type: ClassVar[str] = "mutability"


class ScimUniqueness(Conflict):
    """There is a user or a group of this name already."""

    code = "scim_uniqueness"
    scim_type: ClassVar[str] = "uniqueness"
