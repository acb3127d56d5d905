"""What can go wrong with identity providers. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, NotFound


class IdentityProviderNotFound(NotFound):
    """There is no such identity provider."""

    code = "identity_provider_not_found"


class IdentityProviderNameTaken(Conflict):
    """Another identity provider of the tenant has this name; choose another one."""

    code = "identity_provider_name_taken"


class TooManyIdentityProviders(Conflict):
    """A tenant may have 20 identity providers; delete one first."""

    code = "too_many_identity_providers"
