"""What can go wrong with the erasure of a person. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound


class ErasureNotFound(NotFound):
    """No user of this id was erased from the tenant."""

    code = "erasure_not_found"
