"""How the command line shows things: tables and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import segno
from rich.console import Console
from rich.table import Table
from rich.text import Text

from docuchat_client.models import Citation, Document
from docuchat_client.usage_models import ChatbotUsage, Usage, UsageWindow

# Text comes from documents and models: without these it can neither move the cursor nor rename the window.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_QUOTE_LENGTH = 240
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{4}([0-9a-f]{8})")
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d)(?: (.+))?")
_FOLDED = frozenset({"parts", "queue", "reason", "state"})
_SPARED = ("customer id", "expires", "prefix", "size", "messages", "uploaded")
"""Columns that go where a line does not fit: one's own page, or --json, has them."""
_FOLDED_WIDTH = 30
_NARROWEST = 8
_GAP = 2
_QUIET = 2
"""Light modules around a QR code."""


def clean(text: str | None) -> str:
    """Text without the control characters that a terminal would obey."""
    return _CONTROL.sub("", text or "")


def one_line(text: str | None) -> str:
    """Clean text on one line."""
    return " ".join(clean(text).split())


def shortened(text: str | None, width: int) -> str:
    """Clean text of at most `width` characters; its middle goes, since names often differ at their ends."""
    text = one_line(text)
    if len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


class Screen:
    """Standard output and standard error of the command line."""

    def __init__(self) -> None:
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches standard output."""
        return self.out.is_terminal

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line of clean text, as it is."""
        self.out.print(Text(clean(text), style=style or ""))

    def note(self, text: str) -> None:
        """One line beside the output proper."""
        self.err.print(Text(clean(text), style="dim"))

    def fail(self, text: str) -> None:
        """Why it did not work, in one line."""
        self.err.print(Text(f"docuchat: {one_line(text)}", style="red"))

    def words(self, text: str) -> None:
        """Text without a line's end, at once."""
        self.out.file.write(clean(text))
        self.out.file.flush()

    def json(self, text: str) -> None:
        """A JSON document as it is."""
        self.out.file.write(text + "\n")

    def rows(self, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """A table on a terminal, a line each where it fits; lines with tabs, without headings, elsewhere."""
        cells = [["" if value is None else one_line(str(value)) for value in row] for row in rows]
        if not self.is_terminal:
            for row in cells:
                self.out.file.write("\t".join(row) + "\n")
            return
        columns = [zoned(title(heading), [row[place] for row in cells]) for place, heading in enumerate(headings)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        fitted = fit([column for column in columns if not cells or any(column[1:])], self.out.width)
        for heading, *_ in fitted:
            table.add_column(heading, overflow="fold", no_wrap=heading not in _FOLDED)
        for line in zip(*(column[1:] for column in fitted), strict=True):
            table.add_row(*map(Text, line))
        self.out.print(table, soft_wrap=False)

    def qr_code(self, content: str) -> bool:
        """A QR code in half blocks; False where no terminal shows it, or where it does not fit."""
        code = segno.make(content, error="l", micro=False)
        has_room = self.is_terminal and code.symbol_size(border=_QUIET)[0] <= self.out.width
        if not has_room or not self.out.encoding.startswith("utf"):
            return False
        drawn = io.StringIO()
        code.terminal(drawn, border=_QUIET, compact=True)
        self.out.print(Text(drawn.getvalue(), style="bright_white on black"), end="")
        return True

    def citations(self, citations: Sequence[Citation]) -> None:
        """Citations, one a line: number, document, page and quote."""
        for citation in citations:
            self.line(citation_line(citation), style="dim")


def title(name: str) -> str:
    """What stands above a column: `last used` of `last_used_at`."""
    return name.removeprefix("is_").removesuffix("_at").replace("_", " ")


def zoned(heading: str, cells: Sequence[str]) -> list[str]:
    """A column; where all its times are of one zone, its heading names that in place of each of them."""
    times = [_MINUTE.fullmatch(cell) for cell in cells if cell]
    zones = {time[2] if time else None for time in times}
    if len(zones) != 1 or None in zones:
        return [heading, *cells]
    return [f"{heading} ({zones.pop()})", *(cell and cell[: len("2026-12-31 08:00")] for cell in cells)]


def fit(columns: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Columns, headings first, for a screen of `width`.

    Of ids that do not lead the end stays, columns that can be spared go, and long names shrink; times never do.
    """
    fitted = [[*column] for column in columns]

    def widest(column: Sequence[str]) -> int:
        longest = max(map(len, column))
        return min(longest, _FOLDED_WIDTH) if column[0] in _FOLDED else longest

    def surplus() -> int:
        return sum(map(widest, fitted)) + _GAP * (len(fitted) - 1) - width

    if surplus() > 0:
        fitted[1:] = [[_ID.sub(r"…\1", cell) for cell in column] for column in fitted[1:]]
    for spared in _SPARED:
        if surplus() > 0:
            fitted = [column for column in fitted if column[0].partition(" (")[0] != spared]
    while (over := surplus()) > 0:
        shrinking = [
            column
            for place, column in enumerate(fitted)
            if widest(column) > _NARROWEST
            and column[0] not in _FOLDED
            and not (place == 0 and column[0] == "id")
            and not any(map(_MINUTE.fullmatch, column))
        ]
        if not shrinking:
            break
        longest = max(shrinking, key=widest)
        room = max(_NARROWEST, widest(longest) - max(1, over // len(shrinking)))
        longest[:] = [shortened(cell, room) for cell in longest]
    return fitted


def citation_line(citation: Citation) -> str:
    """`[1] Guide, p. 3: "the words"`."""
    if citation.deleted:
        return f"[{citation.number}] (no longer available)"
    name = one_line(citation.title or citation.filename or str(citation.document_id))
    quote = one_line(citation.quote)
    if len(quote) > _QUOTE_LENGTH:
        quote = quote[: _QUOTE_LENGTH - 1].rstrip() + "…"
    where = f", {pages(citation.page, citation.page_to)}" if citation.page is not None else ""
    return f"[{citation.number}] {name}{where}" + (f': "{quote}"' if quote else "")


def pages(first: int | None, last: int | None) -> str:
    """`p. 3` or `pp. 3-4`."""
    if first is None:
        return ""
    return f"p. {first}" if last is None or last == first else f"pp. {first}-{last}"


def size(number: int) -> str:
    """Bytes in a unit that fits."""
    amount = float(number)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def moment(value: datetime | None) -> str:
    """A time in the zone of this machine, which it names."""
    return value.astimezone().strftime("%Y-%m-%d %H:%M %Z") if value else ""


def document_state(document: Document) -> str:
    """Where a document stands, in a few words."""
    match document.status:
        case "queued":
            place = f", number {document.queue_position} in the queue" if document.queue_position else ""
            return f"queued{place}{_eta(document)}"
        case "processing":
            if document.pages:
                return f"processing, {document.pages_done or 0} of {document.pages} pages{_eta(document)}"
            return f"processing{_eta(document)}"
        case "ready":
            return f"ready, {counted(document.pages, 'page')}, {counted(document.chunks, 'chunk')}"
        case "failed":
            error = document.error
            reason = (error.detail or error.code) if error else "unknown reason"
            return f"failed: {one_line(reason)}" + (f" ({error.code})" if error else "")


def _eta(document: Document) -> str:
    return f", about {document.eta_seconds:.0f} s left" if document.eta_seconds else ""


def counted(number: int | None, thing: str) -> str:
    return f"{number or 0} {thing}" + ("" if number == 1 else "s")


def usage_rows(usage: Usage) -> list[tuple[str, ...]]:
    """The lines of a usage table: the tenant's windows, then one's own."""
    rows = [
        _window("last 24 hours", usage.last_24h),
        _window("last 7 days", usage.last_7d),
        _window("this period", usage.period),
    ]
    if usage.me is not None:
        rows += [_window("own, last 24 hours", usage.me.last_24h), _window("own, this period", usage.me.period)]
    return rows


def chatbot_usage_row(name: str | None, usage: ChatbotUsage) -> tuple[str, ...]:
    """The line of a chatbot: its messages, its tokens and what they are limited to, and the cost."""
    limit = "" if usage.tokens.limit is None else f"{usage.tokens.limit:,}"
    called = name or str(usage.chatbot_id)
    return (called, f"{usage.messages:,}", f"{usage.tokens.used:,}", limit, money(usage.cost, usage.currency))


def _window(name: str, window: UsageWindow) -> tuple[str, ...]:
    counts = (window.input_tokens, window.output_tokens, window.embedding_tokens, window.total_tokens)
    return (name, *(f"{count:,}" for count in counts), money(window.cost, window.currency))


def money(amount: Decimal, currency: str) -> str:
    """An amount with at least two and at most six decimals."""
    text = f"{amount:.6f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2} {currency}"
