"""What can go wrong with sessions. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound, RateLimited, Unauthenticated


class InvalidRefreshToken(Unauthenticated):
    """The refresh token is unknown, expired or revoked; sign in again."""

    code = "invalid_refresh_token"


class OtpRequired(Unauthenticated):
    """The account has a second factor, one of `methods`; send its code as `otp`, or sign in with a passkey."""

    code = "otp_required"


class OtpInvalid(Unauthenticated):
    """The code of the second factor is wrong or was used before; take the next one, or a recovery code."""

    code = "otp_invalid"


class SessionNotFound(NotFound):
    """There is no such session of yours."""

    code = "session_not_found"


class TooManyRefreshes(RateLimited):
    """The session is refreshed far more often than its tokens end; keep the access token until it does."""

    code = "too_many_refreshes"


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before, so every token of its sign-in has been revoked; sign in again."""

    code = "refresh_token_reused"
