"""What can go wrong when signing in. A class docstring is the message that the client reads."""

from docuchat_common.errors import Unauthenticated


class InvalidCode(Unauthenticated):
    """The code is wrong, used up or expired; request a new one."""

    code = "invalid_code"
