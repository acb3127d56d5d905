"""Mail, handed to a small SMTP server of our own over a real socket."""

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import Message

import pytest
from prometheus_client import REGISTRY

from docuchat_auth.adapters.mail import MailServer, SmtpMailer, code_message
from docuchat_auth.codes.domain import Account, CodeRequest, Purpose
from docuchat_auth.mail import DeliveryQueue, MailBacklog, MailRefused
from docuchat_auth.users.domain import Email
from docuchat_common.background import Background
from docuchat_common.ids import TenantId

REQUEST = CodeRequest(Account(TenantId(1), Email("ann@example.com")), "012345")
TEN_MINUTES = timedelta(minutes=10)


@dataclass
class SmtpSink:
    """Takes mail as RFC 5321 has it; `refusals` are answers to the next MAIL commands instead of 250."""

    port: int = 0
    refusals: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    conversations: list[asyncio.Task[None]] = field(default_factory=list)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.conversations.append(asyncio.create_task(self.converse(reader, writer)))

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())

        say("220 sink ESMTP")
        while line := (await reader.readline()).decode().strip():
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                say("250-sink")
                say("250 AUTH PLAIN")
            elif verb == "AUTH":
                self.credentials.append(line.split(" ")[-1])
                say("235 ok")
            elif verb == "MAIL":
                say(self.refusals.pop(0) if self.refusals else "250 ok")
            elif verb == "RCPT":
                self.recipients.append(line)
                say("250 ok")
            elif verb == "DATA":
                say("354 go on")
                body = await reader.readuntil(b"\r\n.\r\n")
                self.messages.append(email.message_from_bytes(body[:-5]))
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                break
            else:
                say("250 ok")


@asynccontextmanager
async def smtp_sink(*refusals: str) -> AsyncIterator[SmtpSink]:
    sink = SmtpSink(refusals=list(refusals))
    server = await asyncio.start_server(sink.accept, "127.0.0.1", 0)
    async with server:
        sink.port = server.sockets[0].getsockname()[1]
        yield sink
        if sink.conversations:
            await asyncio.wait(sink.conversations, timeout=5)


def mailer(sink: SmtpSink, url: str = "smtp://127.0.0.1") -> SmtpMailer:
    server = MailServer.from_url(f"{url}:{sink.port}")
    return SmtpMailer(server, "DocuChat <no-reply@docuchat.example>", pauses=(timedelta(0), timedelta(0)))


async def test_the_code_arrives_as_text_and_not_in_the_subject() -> None:
    async with smtp_sink() as sink:
        await mailer(sink).send_code(REQUEST, "Demo", TEN_MINUTES)
    (message,) = sink.messages
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert message.get_content_type() == "text/plain"
    assert b"012345" in text
    assert b"Demo" in text
    assert b"10 minutes" in text
    assert "012345" not in str(message["Subject"])
    for purpose in Purpose:
        told = code_message(
            CodeRequest(replace(REQUEST.account, purpose=purpose), "012345"), "Demo", TEN_MINUTES, "a@b"
        )
        assert ("sign in" in told.get_content()) == (purpose is Purpose.SIGN_IN) and "Demo" in told.get_content()
    assert message["To"] == "ann@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@docuchat.example>")


async def test_a_tenant_name_cannot_write_the_mail() -> None:
    async with smtp_sink() as sink:
        await mailer(sink).send_code(REQUEST, "Demo\r\n.\r\nMAIL FROM:<x@y>\r\nSubject: no", TEN_MINUTES)
    assert len(sink.recipients) == 1
    assert sink.messages[0]["Subject"] == "Your sign-in code"


async def test_a_busy_server_is_asked_again() -> None:
    async with smtp_sink("451 later", "421 later") as sink:
        await mailer(sink).send_code(REQUEST, "Demo", TEN_MINUTES)
    assert len(sink.messages) == 1


async def test_a_server_that_stays_busy_is_given_up() -> None:
    async with smtp_sink("451 later", "451 later", "451 later", "451 later") as sink:
        with pytest.raises(MailRefused):
            await mailer(sink).send_code(REQUEST, "Demo", TEN_MINUTES)
    assert len(sink.refusals) == 1


async def test_a_refusal_for_good_is_not_asked_again() -> None:
    async with smtp_sink("550 no") as sink:
        with pytest.raises(MailRefused):
            await mailer(sink).send_code(REQUEST, "Demo", TEN_MINUTES)
    assert sink.messages == []


async def test_a_server_that_is_away_is_a_refusal() -> None:
    async with smtp_sink() as sink:
        pass
    with pytest.raises(MailRefused):
        await mailer(sink).send_code(REQUEST, "Demo", TEN_MINUTES)


async def test_credentials_are_not_sent_in_the_clear() -> None:
    async with smtp_sink() as sink:  # offers no STARTTLS
        with pytest.raises(MailRefused):
            await mailer(sink, "smtp://user:password@127.0.0.1").send_code(REQUEST, "Demo", TEN_MINUTES)
    assert sink.credentials == []


def test_mail_urls() -> None:
    assert MailServer.from_url("smtp://mail") == MailServer("mail", 25, None, None, "opportunistic")
    assert MailServer.from_url("smtp://u:p%40ss@mail") == MailServer("mail", 587, "u", "p@ss", "starttls")
    assert MailServer.from_url("smtps://u:p@mail") == MailServer("mail", 465, "u", "p", "tls")
    assert MailServer.from_url("smtp://mail:2525?starttls=always") == MailServer("mail", 2525, None, None, "starttls")
    assert MailServer.from_url("smtp://u:p@mail:25?starttls=never") == MailServer("mail", 25, "u", "p", "none")
    for wrong in ("mail:25", "http://mail", "smtp://", "smtp://mail?starttls=perhaps"):
        with pytest.raises(ValueError, match="smtp"):
            MailServer.from_url(wrong)


def lost(queue: str) -> float:
    return REGISTRY.get_sample_value("docuchat_auth_mails_lost_total", {"queue": queue}) or 0


async def test_the_queue_refuses_when_full_and_delivers_what_it_took() -> None:
    queue = DeliveryQueue("codes", 2)
    delivered: list[CodeRequest] = []

    async def deliver(request: CodeRequest) -> None:
        delivered.append(request)

    await queue.offer(REQUEST)
    await queue.offer(REQUEST)
    with pytest.raises(MailBacklog) as refused:
        await queue.offer(REQUEST)
    assert refused.value.retry_after
    async with Background() as background:
        background.start("delivery", lambda: queue.deliver(deliver))
        await queue.drain(timedelta(seconds=5))
    assert delivered == [REQUEST, REQUEST]


async def test_a_failed_delivery_is_counted_and_does_not_stop_the_next() -> None:
    before = lost("codes")
    queue = DeliveryQueue("codes", 10)
    delivered: list[CodeRequest] = []

    async def deliver(request: CodeRequest) -> None:
        if not delivered:
            delivered.append(request)
            raise MailRefused
        delivered.append(request)

    await queue.offer(REQUEST)
    await queue.offer(REQUEST)
    async with Background() as background:
        background.start("delivery", lambda: queue.deliver(deliver))
        await queue.drain(timedelta(seconds=60))
    assert len(delivered) == 2
    assert lost("codes") == before + 1


async def test_a_mail_server_that_hangs_does_not_hold_the_end_of_the_process() -> None:
    queue = DeliveryQueue("codes", 10)
    never = asyncio.Event()

    async def deliver(_: CodeRequest) -> None:
        await never.wait()

    await queue.offer(REQUEST)
    async with asyncio.timeout(30), Background() as background:
        background.start("delivery", lambda: queue.deliver(deliver))
        await queue.drain(timedelta(seconds=0.05))
