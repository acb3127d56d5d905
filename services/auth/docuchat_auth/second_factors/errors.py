"""What can go wrong with second factors. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, NotFound


class TotpNotBegun(Conflict):
    """No authenticator app is being set up, or an hour has passed; begin again."""

    code = "totp_not_begun"


class TotpNotFound(NotFound):
    """You have no authenticator app set up."""

    code = "totp_not_found"


class NoSecondFactor(Conflict):
    """Recovery codes stand in for a second factor; set one up first."""

    code = "no_second_factor"
