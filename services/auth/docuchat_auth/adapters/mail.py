"""Mail: handed to a server, or written to the log of a local run."""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
import structlog
from pydantic import SecretStr

from docuchat_auth.codes.domain import CodeRequest, Purpose
from docuchat_auth.invitations.domain import InvitationMail
from docuchat_auth.lifecycle.domain import OwnersNotice, Receipt
from docuchat_auth.mail import MailRefused
from docuchat_common.ids import TenantId

logger = structlog.get_logger()

_PERMANENT = 500  # SMTP replies from here on will not change by trying again


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where and how mail is handed in."""

    host: str
    port: int
    username: str | None
    password: str | None
    security: Literal["tls", "starttls", "opportunistic", "none"]

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Reads `smtp://[user:password@]host[:port][?starttls=always|auto|never]` or `smtps://…`.

        Raises ValueError with a message. Credentials are never sent in the clear: with them STARTTLS is `always`
        unless the URL says `never`; without them it is used where it is offered.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("must look like smtp://user:password@host:587 or smtps://user:password@host:465")
        starttls = parse_qs(parts.query).get("starttls", [None])[-1]
        security: Literal["tls", "starttls", "opportunistic", "none"]
        match (parts.scheme, starttls):
            case ("smtps", None):
                security = "tls"
            case ("smtp", "always"):
                security = "starttls"
            case ("smtp", "never"):
                security = "none"
            case ("smtp", "auto"):
                security = "opportunistic"
            case ("smtp", None):
                security = "starttls" if parts.username else "opportunistic"
            case _:
                raise ValueError("starttls is always, auto or never, and only with smtp://")
        return cls(
            host=parts.hostname,
            port=parts.port or {"tls": 465}.get(security, 587 if parts.username else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            security=security,
        )


class SmtpMailer:
    """Hands text mails to a mail server, trying again where that can help."""

    def __init__(
        self,
        server: MailServer,
        sender: str,
        *,
        invitation_url: str = "",
        timeout: timedelta = timedelta(seconds=10),
        pauses: tuple[timedelta, ...] = (timedelta(seconds=1), timedelta(seconds=4)),
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        """`pauses` are the times between tries; `invitation_url` the page that accepts invitations."""
        self._server = server
        self._sender = sender
        self._invitation_url = invitation_url
        self._timeout = timeout
        self._pauses = pauses
        self._tls_context = tls_context

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
        await self._send(code_message(request, tenant_name, lifetime, self._sender), request.tenant_id)
        logger.info("auth.code_mailed", tenant_id=request.tenant_id)

    async def send_invitation(self, mail: InvitationMail) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
        await self._send(invitation_message(mail, self._invitation_url, self._sender), mail.tenant_id)
        logger.info("auth.invitation_mailed", tenant_id=mail.tenant_id)

    async def send_letter(self, mail: InvitationMail | OwnersNotice) -> None:
        """As `send_invitation`, or a notice. Raises MailRefused."""
        if isinstance(mail, InvitationMail):
            await self.send_invitation(mail)
            return
        await self._send(notice_message(mail, self._sender), mail.tenant_id)
        logger.info("auth.notice_mailed", tenant_id=mail.tenant_id)

    async def send_receipt(self, receipt: Receipt, address: str) -> None:
        """Raises MailRefused when every try failed or the server refused for good."""
        await self._send(receipt_message(receipt, address, self._sender), receipt.tenant_id)
        logger.info("auth.receipt_mailed", tenant_id=receipt.tenant_id)

    async def _send(self, message: EmailMessage, tenant_id: TenantId) -> None:
        for pause in (*self._pauses, None):
            try:
                await self._hand_in(message)
            except aiosmtplib.SMTPResponseException as error:
                if pause is None or error.code >= _PERMANENT:
                    raise MailRefused from error
            except (aiosmtplib.SMTPException, OSError) as error:
                if pause is None:
                    raise MailRefused from error
            else:
                return
            logger.warning("auth.mail_retry", tenant_id=tenant_id, pause=pause.total_seconds())
            await asyncio.sleep(pause.total_seconds())

    async def _hand_in(self, message: EmailMessage) -> None:
        security = self._server.security
        start_tls = {"tls": False, "none": False, "starttls": True, "opportunistic": None}[security]
        await aiosmtplib.send(
            message,
            hostname=self._server.host,
            port=self._server.port,
            username=self._server.username,
            password=self._server.password,
            use_tls=security == "tls",
            start_tls=start_tls,
            tls_context=self._tls_context,
            timeout=self._timeout.total_seconds(),
        )


_TEXTS: Final = {
    Purpose.SIGN_IN: ("Your sign-in code", "sign in to", "nobody can sign in"),
    Purpose.RESET: ("Your code for a new password", "set a new password at", "your password stays as it is"),
    Purpose.VERIFY: ("Is this your address?", "prove that this is your address to", "nobody can use your address"),
}
"""What a code is good for, so that who did not ask for it understands what somebody else is trying."""


class LogMailer:
    """Writes to the log instead of sending. The one exception to "no secret in a log"; local only."""

    def __init__(self, invitation_url: str = "") -> None:
        self._invitation_url = invitation_url

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """One line that a person or a script can read, whatever the log's format is."""
        # in the message, not in fields: JSON, plain and coloured logs then read the same
        line = f"auth.code_issued code={request.code} email={request.account.email} for={request.account.purpose}"
        logger.info(line)

    async def send_invitation(self, mail: InvitationMail) -> None:
        """One line, as for a code."""
        line = f"auth.invitation_issued token={mail.token} email={mail.email} {self._invitation_url}#token={mail.token}"
        logger.info(line)

    async def send_letter(self, mail: InvitationMail | OwnersNotice) -> None:
        """One line; of a notice without its address."""
        if isinstance(mail, InvitationMail):
            await self.send_invitation(mail)
        else:
            logger.info("auth.notice_issued", tenant_id=mail.tenant_id, at=mail.at.isoformat())

    async def send_receipt(self, receipt: Receipt, _: str) -> None:
        """One line; what it says, operators read with `docuchat admin deletion-receipt`."""
        logger.info("auth.receipt_issued", tenant_id=receipt.tenant_id)


def open_mailer(url: SecretStr | None, sender: str, invitation_url: str) -> LogMailer | SmtpMailer:
    """Mail, or the log in local development, where alone the settings let no server be named."""
    if url is None:
        return LogMailer(invitation_url)
    return SmtpMailer(MailServer.from_url(url.get_secret_value()), sender, invitation_url=invitation_url)


def code_message(request: CodeRequest, tenant_name: str, lifetime: timedelta, sender: str) -> EmailMessage:
    """The mail. The code is not in its subject, which shows on locked screens."""
    subject, good_for, otherwise = _TEXTS[request.account.purpose]
    message = _envelope(request.account.email, subject, sender)
    minutes = int(lifetime.total_seconds() // 60)
    message.set_content(
        f"Your code to {good_for} {' '.join(tenant_name.split())} on DocuChat is\n\n"
        f"    {request.code}\n\n"
        f"It can be used once, within {minutes} minutes.\n"
        f"If you did not ask for it, ignore this mail; {otherwise} without the code. Give it to nobody.\n"
    )
    return message


def invitation_message(mail: InvitationMail, url: str, sender: str) -> EmailMessage:
    """The mail. The token is behind a `#`, which no browser sends to a server and no log keeps."""
    message = _envelope(mail.email, "You are invited to DocuChat", sender)
    message.set_content(
        f"You are invited to join {' '.join(mail.tenant_name.split())} on DocuChat. Open\n\n"
        f"    {url}#token={mail.token}\n\n"
        "or give this code where you are asked for it:\n\n"
        f"    {mail.token}\n\n"
        f"It can be used once, until {mail.expires_at:%Y-%m-%d %H:%M} UTC.\n"
        "If you do not know who invites you, ignore this mail. Give it to nobody.\n"
    )
    return message


def receipt_message(receipt: Receipt, to: str, sender: str) -> EmailMessage:
    """The mail: what each service erased, and what it keeps."""
    message = _envelope(to, "Your DocuChat tenant was deleted", sender)
    lines = [f"Tenant {receipt.tenant_id}, customer id {receipt.customer_id}, was erased.", ""]
    for service, part in sorted(receipt.parts.items()):
        erased = ", ".join(f"{amount} {name.replace('_', ' ')}" for name, amount in sorted(part.erased.items()))
        lines.append(f"{service}, {part.erased_at:%Y-%m-%d %H:%M} UTC: {erased or 'nothing was there'}")
        lines += [f"  kept: {name.replace('_', ' ')} ({reason})" for name, reason in sorted(part.kept.items())]
    lines += ["", "Your address was kept for this mail, and is forgotten now.", ""]
    message.set_content("\n".join(lines))
    return message


def notice_message(notice: OwnersNotice, sender: str) -> EmailMessage:
    """The mail: what is erased when, and how that is taken back."""
    name, at = " ".join(notice.tenant_name.split()), f"{notice.at:%Y-%m-%d %H:%M} UTC"
    if notice.retention is None:
        message = _envelope(notice.to, "Your DocuChat tenant is to be deleted", sender)
        said = f"{name} is to be erased with everything in it at {at}. Until then an owner can take that back:\n\n"
        said += "    docuchat tenant restore\n"
    else:
        message = _envelope(notice.to, "Your DocuChat tenant is to keep less", sender)
        days = {"chats": notice.retention.chats_days, "documents": notice.retention.documents_days}
        kept = ", ".join(f"{what} {f'{count} days' if count else 'for ever'}" for what, count in days.items())
        said = f"From {at} on {name} keeps: {kept}. What is older is deleted then.\n"
        said += "Until then an admin can have it kept for longer:\n\n    docuchat tenant set --help\n"
    message.set_content(f"{said}\nIf you know nothing of this, do so, and look at who did it: docuchat audit\n")
    return message


def _envelope(to: str, subject: str, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].strip("> ") or None)
    message["Auto-Submitted"] = "auto-generated"
    return message
