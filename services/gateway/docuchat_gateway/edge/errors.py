"""What can go wrong at the edge."""

from docuchat_common.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    Unauthenticated,
)


class TokenOutdated(Unauthenticated):
    """What this user may do has changed since the token was made; get a new one with the refresh token."""

    code = "token_outdated"


class SessionEnded(Unauthenticated):
    """The sign-in that this token comes from was ended; sign in again."""

    code = "session_ended"


class TenantSuspended(Forbidden):
    """Your tenant is suspended: what is there can be read, nothing can be changed or asked; ask your operator."""

    code = "tenant_suspended"


class LinkClosed(NotFound):
    """What this link leads to is closed for now; ask who gave it to you."""

    code = "link_closed"


class TenantDeleting(Forbidden):
    """Your tenant is about to be deleted: until then it can be read, and its owner can take that back."""

    code = "tenant_deleting"


class OriginRefused(Forbidden):
    """Pages of this origin may not call this; the server's FRONTEND_ORIGIN names those that may."""

    code = "origin_refused"


class BadFrame(InvalidInput):
    """Send a JSON object with `message`, `resume` or `stop`, as text."""

    code = "invalid_frame"


class FrameTooLarge(PayloadTooLarge):
    """The message is too long."""

    code = "message_too_large"


class Busy(InvalidInput):
    """A turn is running on this socket; stop it or wait for its end."""

    code = "busy"


class TwoCredentials(InvalidInput):
    """Send one credential: an API key as `X-API-Key`, or it or an access token as `Authorization: Bearer`."""

    code = "two_credentials"


class SlowBody(RequestTimeout):
    """The body of the request did not arrive within 30 seconds; send it again."""

    code = "body_too_slow"


class TooManySockets(RateLimited):
    """Too many sockets are open; close one first."""

    code = "too_many_sockets"
