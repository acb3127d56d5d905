"""What the end of a tenant needs from the world."""

from typing import Protocol

from docuchat_auth.lifecycle.domain import ReceiptMail


class ReceiptMailer(Protocol):
    """Sends mail."""

    async def send_receipt(self, mail: ReceiptMail) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
