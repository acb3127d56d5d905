"""What can go wrong with users. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound, Unauthenticated


class UserGone(Unauthenticated):
    """The account of this token no longer exists or has been closed."""

    code = "user_gone"


class UserNotFound(NotFound):
    """There is no such user in the tenant."""

    code = "user_not_found"
