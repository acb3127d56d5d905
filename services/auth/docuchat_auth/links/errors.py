"""What can go wrong with links. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound


class LinkedIdentityNotFound(NotFound):
    """This user is not linked to that identity provider."""

    code = "linked_identity_not_found"
