"""What inviting needs from the world."""

from typing import Protocol

from docuchat_auth.invitations.domain import InvitationMail


class InvitationMailer(Protocol):
    """Brings an invitation to its address."""

    async def send_invitation(self, mail: InvitationMail) -> None:
        """Raises MailRefused when every try failed."""
        ...
