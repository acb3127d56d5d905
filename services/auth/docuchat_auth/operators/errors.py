"""What can go wrong for operators. A class docstring is the message that the client reads."""

from docuchat_common.errors import Unauthenticated


class InvalidOperatorKey(Unauthenticated):
    """The operator's credential is wrong or was revoked; make one with `python -m docuchat_setup operator`."""

    code = "invalid_operator_key"
