"""What can go wrong when somebody registers. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden


class SignUpClosed(Forbidden):
    """Nobody joins this tenant uninvited; ask its owner for an invitation."""

    code = "signup_closed"


class AlreadyRegistered(Conflict):
    """The address, which you have proven to be yours, has an account here; sign in with it."""

    code = "already_registered"


class UsernameTaken(Conflict):
    """Somebody else has this user name; choose another one."""

    code = "username_taken"


class NothingToVerify(Conflict):
    """The account has no address that is still to be proven."""

    code = "nothing_to_verify"
