"""What can go wrong with tenants. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, InvalidInput, NotFound


class TenantNotFound(NotFound):
    """There is no such tenant."""

    code = "tenant_not_found"


class InvalidSlug(InvalidInput):
    """A slug is 1 to 63 lower-case letters, digits and inner hyphens, and neither a number nor a UUID."""

    code = "invalid_slug"


class InvalidSignUp(InvalidInput):
    """Sign-up by `domains` needs at least one domain of mail, like acme.example; the other modes have none."""

    code = "invalid_signup"


class ChooseTenant(Conflict):
    """There is an account in each of `tenants`; repeat the request and say which one is meant."""

    code = "choose_tenant"


class TenantTaken(Conflict):
    """The id or the slug belongs to another tenant."""

    code = "tenant_taken"
