"""The main job, shown: sign in, upload a PDF, ask about it, read the streamed answer, see what it cost."""

import os
import time
from pathlib import Path
from textwrap import shorten

from docuchat_client import DocuChat, DocuChatError
from docuchat_client.models import Document
from docuchat_client.usage_models import Usage, UsageWindow
from docuchat_local.environment import ROOT
from docuchat_local.errors import LocalError
from docuchat_local.probes import wait_for_code
from docuchat_local.terminal import Terminal

_EMAIL = "demo@example.com"
_TENANT = 1
_HANDBOOK = ROOT / "examples" / "documents" / "handbook-en.pdf"
_HANDBOOK_QUESTION = "How many days of paid leave does every employee have?"
_INGEST_SECONDS = 300
_BOOKING_SECONDS = 15
_POLL_SECONDS = 0.2


class DemoFailed(LocalError):
    """The demonstration did not go through."""


def run_demo(gateway_url: str, auth_log: Path, terminal: Terminal) -> None:
    """Run it against a product that is ready; raises DemoFailed."""
    try:
        with DocuChat(gateway_url, tenant=_TENANT) as client:
            _sign_in(client, auth_log, terminal)
            before = client.usage().last_24h
            document, question = _upload(client, terminal)
            _ask(client, document, question, terminal)
            _show_usage(_booked(client, before), before, terminal)
    except DocuChatError as fault:
        raise DemoFailed(str(fault)) from fault
    terminal.say(f"\nThat was the whole way, through {gateway_url} alone. Its API: {gateway_url}/docs")


def _sign_in(client: DocuChat, auth_log: Path, terminal: Terminal) -> None:
    terminal.say(terminal.bold("1. Sign in by e-mail code"))
    since = auth_log.stat().st_size
    client.login(_EMAIL, lambda _: wait_for_code(auth_log, since))
    user = client.me()
    terminal.say(
        f"   {user.email}, {user.role} of tenant {user.tenant.id} {user.tenant.slug}; the code was in auth's log"
    )


def _upload(client: DocuChat, terminal: Terminal) -> tuple[Document, str]:
    terminal.say(terminal.bold("2. Upload a PDF"))
    started = time.monotonic()
    path = _given_pdf()
    document = client.upload(path, title=path.stem)
    question = _HANDBOOK_QUESTION if path == _HANDBOOK else "What is this document about?"
    terminal.say(f"   {document.filename}, {document.size_bytes:,} bytes: {document.status}")

    shown = set[str]()

    def on_change(changed: Document) -> None:
        line = f"   {changed.status}: page {changed.pages_done or 0} of {changed.pages or '?'}"
        if line not in shown:
            shown.add(line)
            terminal.say(line)

    if document.status not in {"ready", "failed"}:
        document = client.wait_until_settled(document.id, timeout=_INGEST_SECONDS, on_change=on_change)
    if document.status == "failed":
        reason = document.error.detail or document.error.code if document.error else "no reason given"
        raise DemoFailed(f"{document.filename} could not be read: {reason}")
    seconds = time.monotonic() - started
    terminal.say(f"   ready after {seconds:.1f} s: {document.pages} pages, {document.chunks} chunks")
    return document, os.environ.get("DEMO_QUESTION") or question


def _ask(client: DocuChat, document: Document, question: str, terminal: Terminal) -> None:
    terminal.say(terminal.bold(f"3. Ask over a WebSocket: {question}"))
    with client.stream(question, document_ids=[document.id]) as answer:
        for words in answer.text():
            terminal.write_part(words)
        terminal.say()
        for citation in answer.citations:
            pages = f"page {citation.page}" if citation.page else "no page"
            quote = shorten(citation.quote, 100, placeholder=" …")
            terminal.say(f"   [{citation.number}] {citation.filename or citation.title}, {pages}: {quote}")
        if not answer.citations:
            terminal.say("   (no citations)")
        if answer.usage:
            counted = "estimated" if answer.usage.estimated else "counted by the provider"
            terminal.say(f"   {answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out, {counted}")


def _booked(client: DocuChat, before: UsageWindow) -> Usage:
    """The usage once the events of this demonstration have been booked; they travel through the broker."""
    deadline = time.monotonic() + _BOOKING_SECONDS
    usage = client.usage()
    while usage.last_24h.output_tokens == before.output_tokens and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        usage = client.usage()
    return usage


def _show_usage(usage: Usage, before: UsageWindow, terminal: Terminal) -> None:
    terminal.say(terminal.bold("4. What it cost"))
    day = usage.last_24h
    terminal.say(f"   this demonstration   {day.total_tokens - before.total_tokens:,} tokens")
    counts = f"{day.input_tokens:,} in, {day.output_tokens:,} out, {day.embedding_tokens:,} embedded"
    terminal.say(f"   last 24 hours        {counts}, {day.cost} {day.currency}")
    if usage.quota and usage.quota.tokens and usage.quota.tokens.remaining is not None:
        terminal.say(f"   left of the quota    {usage.quota.tokens.remaining:,} tokens until {usage.quota.resets_at}")


def _given_pdf() -> Path:
    given = os.environ.get("DEMO_PDF")
    if given is None:
        return _HANDBOOK
    path = Path(given).expanduser()
    if not path.is_file():
        raise DemoFailed(f"DEMO_PDF names {path}, which is no file")
    return path
