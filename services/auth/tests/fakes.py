"""A stand-in for the one foreign system of auth: the mail server."""

from dataclasses import dataclass, field
from datetime import timedelta

from docuchat_auth.codes.domain import CodeRequest
from docuchat_auth.users.domain import Email


@dataclass
class Mailbox:
    """A mailer that keeps what it is given."""

    mails: list[tuple[Email, str]] = field(default_factory=list)

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        self.mails.append((request.account.email, request.code))
