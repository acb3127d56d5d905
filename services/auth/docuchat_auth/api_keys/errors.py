"""What can go wrong with API keys. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated


class InvalidApiKey(Unauthenticated):
    """The API key is wrong, has expired or was revoked; make another with POST /v1/api-keys."""

    code = "invalid_api_key"


class AddressNotAllowed(Forbidden):
    """This API key may not be used from this address; its `addresses` say from where."""

    code = "address_not_allowed"


class ApiKeyNotFound(NotFound):
    """There is no such API key, or it is not yours."""

    code = "api_key_not_found"


class RightsExceeded(Forbidden):
    """A key may do no more than who makes it; leave out the scopes that you or the key's role do not have."""

    code = "rights_exceeded"


class KeyExpiryPast(InvalidInput):
    """`expires_at` must lie in the future."""

    code = "key_expiry_past"


class TooManyApiKeys(Conflict):
    """There are as many API keys as may be; revoke one that is not used."""

    code = "too_many_api_keys"
