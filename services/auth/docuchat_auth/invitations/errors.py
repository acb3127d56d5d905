"""What can go wrong with invitations. A class docstring is the message that the client reads."""

from docuchat_common.errors import Conflict, Forbidden, NotFound, Unauthenticated


class InvitationNotFound(NotFound):
    """There is no such invitation; it may have been accepted or revoked."""

    code = "invitation_not_found"


class AlreadyMember(Conflict):
    """The address belongs to a user of the tenant already, who signs in."""

    code = "already_member"


class InvalidInvitation(Unauthenticated):
    """The invitation is unknown, used, revoked or expired; ask for another one."""

    code = "invalid_invitation"


class AddressUnproven(Forbidden):
    """Nobody who manages the tenant has proven an address of mail yet; prove yours, then invite others."""

    code = "address_unproven"
