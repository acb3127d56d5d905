"""What signing in needs from the world."""

from datetime import timedelta
from typing import Protocol

from docuchat_auth.codes.domain import CodeRequest


class CodeMailer(Protocol):
    """Brings a code to its owner."""

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """Raises MailRefused when every try failed."""
        ...
