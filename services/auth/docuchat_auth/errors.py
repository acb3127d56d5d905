"""What can go wrong in auth. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, InvalidInput, NotFound, RateLimited, Unauthenticated, UpstreamUnavailable


class TenantNotFound(NotFound):
    """There is no such tenant."""

    code = "tenant_not_found"


class InvalidSlug(InvalidInput):
    """A slug is 1 to 63 lower-case letters, digits and inner hyphens, and not a number."""

    code = "invalid_slug"


class TenantTaken(Conflict):
    """The id or the slug belongs to another tenant."""

    code = "tenant_taken"


class InvalidCode(Unauthenticated):
    """The code is wrong, used up or expired; request a new one."""

    code = "invalid_code"


class InvalidRefreshToken(Unauthenticated):
    """The refresh token is unknown, expired or revoked; sign in again."""

    code = "invalid_refresh_token"


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before, so every token of its sign-in has been revoked; sign in again."""

    code = "refresh_token_reused"


class UserGone(Unauthenticated):
    """The account of this token no longer exists or has been closed."""

    code = "user_gone"


class TooManyAttempts(RateLimited):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"


class MailBacklog(UpstreamUnavailable):
    """Too many sign-in codes are waiting to be sent; try again shortly."""

    code = "mail_backlog"


class MailRefused(UpstreamUnavailable):
    """The mail server did not take the message."""

    code = "mail_refused"


class StoreUnavailable(UpstreamUnavailable):
    """The store of sign-in codes does not answer; try again shortly."""

    code = "store_unavailable"


class NoSigningKey(UpstreamUnavailable):
    """There is no key to sign tokens with yet; try again shortly."""

    code = "no_signing_key"


class KeySealBroken(Exception):
    """A private key cannot be opened: it was sealed under another JWT_SECRET."""
