"""What can go wrong with API keys. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden, InvalidInput, NotFound


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
