"""What can go wrong when signing in. A class docstring is the message that the client reads."""

from docuchat_common.errors import RateLimited, Unauthenticated, UpstreamUnavailable


class InvalidCode(Unauthenticated):
    """The code is wrong, used up or expired; request a new one."""

    code = "invalid_code"


class TooManyAttempts(RateLimited):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"


class MailBacklog(UpstreamUnavailable):
    """Too many sign-in codes are waiting to be sent; try again shortly."""

    code = "mail_backlog"


class MailRefused(UpstreamUnavailable):
    """The mail server did not take the message."""

    code = "mail_refused"
