"""What can go wrong with sessions. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound, Unauthenticated


class InvalidRefreshToken(Unauthenticated):
    """The refresh token is unknown, expired or revoked; sign in again."""

    code = "invalid_refresh_token"


class SessionNotFound(NotFound):
    """There is no such session of yours."""

    code = "session_not_found"


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before, so every token of its sign-in has been revoked; sign in again."""

    code = "refresh_token_reused"
