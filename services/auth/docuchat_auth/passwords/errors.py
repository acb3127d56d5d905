"""What can go wrong with passwords. A class docstring is the message that the client reads."""

from docuchat_common.errors import Forbidden, InvalidInput, Unauthenticated, UpstreamUnavailable


class InvalidCredentials(Unauthenticated):
    """The address or the password is wrong; who has forgotten the password asks for a code or a reset."""

    code = "invalid_credentials"


class WrongPassword(Forbidden):
    """The present password is missing or wrong; send it as `current`."""

    code = "wrong_password"


class PasswordTooWeak(InvalidInput):
    """The password is too easy to guess; take a longer one, or several words that do not belong together."""

    code = "password_too_weak"


class PasswordsBusy(UpstreamUnavailable):
    """Too many passwords are being checked; try again shortly."""

    code = "passwords_busy"
