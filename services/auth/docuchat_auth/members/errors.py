"""What can go wrong when people are managed. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden, InvalidInput


class LastOwner(Conflict):
    """This is the last active owner of the tenant; make somebody else an owner first."""

    code = "last_owner"


class OwnersOnly(Forbidden):
    """Only a signed-in owner may make, change or remove an owner."""

    code = "owners_only"


class InvalidHandOver(InvalidInput):
    """What a removed user owns goes to another active user of the tenant; name one, or nobody to delete it."""

    code = "invalid_hand_over"
