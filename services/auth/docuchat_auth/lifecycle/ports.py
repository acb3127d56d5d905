"""What the end of a tenant needs from the world."""

from typing import Protocol

from docuchat_auth.lifecycle.domain import Receipt


class ReceiptMailer(Protocol):
    """Sends mail."""

    async def send_receipt(self, receipt: Receipt, address: str) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
