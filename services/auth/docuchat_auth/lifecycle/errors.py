"""What can go wrong with a tenant's settings and its end. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden, InvalidInput, NotFound


class OperatorsOpen(Forbidden):
    """Only an operator lets anybody join; choose `invite` or `domains`."""

    code = "operators_open"


class SlugMismatch(InvalidInput):
    """To delete a tenant, say its slug in `confirm`."""

    code = "slug_mismatch"


class ErasureBegun(Conflict):
    """The tenant's time of grace is over and it is being erased; it cannot be taken back."""

    code = "erasure_begun"


class ReceiptNotFound(NotFound):
    """No tenant of this number or customer id was deleted."""

    code = "receipt_not_found"
