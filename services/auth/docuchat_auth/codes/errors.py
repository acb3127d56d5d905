"""What can go wrong when signing in. A class docstring is the message that the client reads."""

from docuchat_common.errors import Unauthenticated, UpstreamUnavailable


class InvalidCode(Unauthenticated):
    """The code is wrong, used up or expired; request a new one."""

    code = "invalid_code"


class MailBacklog(UpstreamUnavailable):
    """Too many sign-in codes are waiting to be sent; try again shortly."""

    code = "mail_backlog"


class MailRefused(UpstreamUnavailable):
    """The mail server did not take the message."""

    code = "mail_refused"
