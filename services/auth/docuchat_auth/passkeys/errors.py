"""What can go wrong with passkeys. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, InvalidInput, NotFound, Unauthenticated


class InvalidPasskey(Unauthenticated):
    """This passkey opens nothing here, or its challenge is older than five minutes; ask for options and try again."""

    code = "invalid_passkey"


class PasskeyRefused(InvalidInput):
    """This is no new passkey for the options that were asked for, or they are older than five minutes; try again."""

    code = "passkey_refused"


class PasskeyTaken(Conflict):
    """This passkey is registered already."""

    code = "passkey_taken"


class TooManyPasskeys(Conflict):
    """There are 20 passkeys of yours; remove one that you do not use."""

    code = "too_many_passkeys"


class PasskeyNotFound(NotFound):
    """There is no such passkey of yours."""

    code = "passkey_not_found"
