"""Errors of providers."""

from __future__ import annotations

from docuchat_common.errors import Conflict, Forbidden, InvalidInput, NotFound


class ProviderNotFound(NotFound):
    """There is no such model provider."""

    code = "provider_not_found"


class ProviderNameTaken(Conflict):
    """Another model provider has this name, of yours or of the platform; choose another one."""

    code = "provider_name_taken"


class ProviderNameReserved(InvalidInput):
    """This name means something else here; choose another one for the provider."""

    code = "provider_name_reserved"


class ProviderOfPlatform(Forbidden):
    """This provider is the platform's, which only operators change; make one of your own."""

    code = "provider_of_platform"


class ProviderChanged(Conflict):
    """The provider was changed since you read it; read it again, and repeat your change with its `revision`."""

    code = "provider_changed"


class ProviderKeyNeeded(InvalidInput):
    """Another address is not shown the stored key; send `api_key` together with the new `base_url`."""

    code = "provider_key_needed"


class TooManyProviders(Conflict):
    """There are as many model providers as there can be; delete one first."""

    code = "too_many_providers"
