"""Text of PDF files through pypdfium2's raw binding: no wrapper objects, two native calls a page beside load and close.

PDFium gives the reading order of Latin pages well. Pages with right-to-left script go through `right_to_left`, which
puts letters in order by where they stand on the page, because PDFium returns many such words reversed.
"""

import contextlib
import ctypes
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pypdfium2.raw as pdfium

from docuchat_ingest.reading import ink, right_to_left
from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.formats import PageText, Problem
from docuchat_ingest.reading.legibility import is_garbled
from docuchat_ingest.reading.outline import read_facts

_MARGIN = 2.0
"""Points by which a letter may stand out of the page and still count; text beyond is not seen by the page's reader."""

_MAX_PAGE_CHARACTERS = 2_000_000
_SHORT_PAGE = 1_000
_GLANCE, _SAMPLED = 8, 200
_UNMAPPED_SHARE = 0.5
"""Of the letters drawn; marks above letters may lack a mapping in a page that is read well."""

_LIGATURES = {
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
_ODD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufb00-\ufb06\ufdd0-\ufdef\ufeff\ufffe\uffff\ud800-\udfff]")
_HYPHEN = re.compile("[\x02\ufffe](?:\r?\n)?(?=(.?))", re.DOTALL)
"""PDFium's mark for a hyphen at a line's end; the line break after it is already gone."""

# https://pdfium.googlesource.com/pdfium/+/main/public/fpdfview.h FPDF_GetLastError
_REASONS = {
    pdfium.FPDF_ERR_FILE: "damaged",
    pdfium.FPDF_ERR_FORMAT: "damaged",
    pdfium.FPDF_ERR_PASSWORD: "encrypted",
    pdfium.FPDF_ERR_SECURITY: "encrypted",
}

pdfium.FPDF_InitLibrary()


@contextlib.contextmanager
def open_document(path: str, max_pages: int) -> "Iterator[PdfDocument]":
    """Open the file; raises Unreadable when it has no pages that can be loaded, or too many."""
    _check_header(path)
    handle = pdfium.FPDF_LoadDocument(os.fsencode(path), None)
    if not handle:
        raise Unreadable(_REASONS.get(pdfium.FPDF_GetLastError(), "damaged"))
    try:
        pages = pdfium.FPDF_GetPageCount(handle)
        if pages > max_pages:
            raise Unreadable("too_many_pages")
        if pages < 1:
            raise Unreadable("damaged")
        yield PdfDocument(handle, path, pages)
    finally:
        pdfium.FPDF_CloseDocument(handle)


def _check_header(path: str) -> None:
    """The mark may stand anywhere in the first 1,024 bytes (ISO 32000-1, implementation note 13)."""
    with Path(path).open("rb") as file:
        head = file.read(1024)
    if not head:
        raise Unreadable("empty")
    if b"%PDF-" not in head:
        raise Unreadable("not_a_pdf")


class PdfDocument:
    """An open PDF; the pages in order."""

    def __init__(self, handle: "pdfium.FPDF_DOCUMENT", path: str, page_count: int) -> None:
        self._handle = handle
        self._slow = right_to_left.SlowReader(path)
        self.page_count = page_count
        findings = read_facts(path, page_count)
        self.facts = findings.facts
        self._form_values = findings.form_values

    def pages(self) -> Iterator[PageText]:
        """Every page, an empty one for one that cannot be loaded; raises Unreadable when none could be."""
        loaded = 0
        for index in range(self.page_count):
            page = pdfium.FPDF_LoadPage(self._handle, index)
            if not page:
                yield PageText("")
                continue
            loaded += 1
            text_page = pdfium.FPDFText_LoadPage(page)
            try:
                text = self._read(page, text_page, index) if text_page else ""
                read = _judge(page, text_page, text) if text_page else PageText("")
                yield self._with_form_values(read, index)
            finally:
                if text_page:
                    pdfium.FPDFText_ClosePage(text_page)
                pdfium.FPDF_ClosePage(page)
        if not loaded:
            raise Unreadable("damaged")

    def _with_form_values(self, page: PageText, index: int) -> PageText:
        """PDFium's text has what is printed on the page, not what was filled in."""
        values = self._form_values.get(index)
        return replace(page, text=tidy("\n".join((page.text, *values)))) if values else page

    def _read(self, page: "pdfium.FPDF_PAGE", text_page: "pdfium.FPDF_TEXTPAGE", index: int) -> str:
        characters = pdfium.FPDFText_CountChars(text_page)
        if characters <= 0:
            return ""
        if characters > _MAX_PAGE_CHARACTERS:
            raise Unreadable("too_much_text")
        seen = _visible_area(page)
        room = 2 * characters + 64  # surrogate pairs, and line breaks that PDFium adds
        buffer = (ctypes.c_ushort * room)()
        # Not FPDFText_GetText: that one cuts characters beyond the basic plane down to 16 bits.
        length = pdfium.FPDFText_GetBoundedText(text_page, seen.left, seen.top, seen.right, seen.bottom, buffer, room)
        text = bytes(memoryview(buffer)[: max(length, 0)]).decode("utf-16-le", "replace")
        if right_to_left.is_needed(text):
            ordered = right_to_left.read_page(page, text_page, characters, seen)
            slow = self._slow
            text = slow.read_page(index) if ordered is None else slow.restore_half_spaces(ordered, index)
        return tidy(text)


def _judge(page: "pdfium.FPDF_PAGE", text_page: "pdfium.FPDF_TEXTPAGE", text: str) -> PageText:
    if is_garbled(text) or _is_unmapped(text_page):
        return PageText("", Problem.GARBLED)
    letters = sum(map(str.isalnum, text)) if len(text) < _SHORT_PAGE else _SHORT_PAGE
    return PageText(text, Problem.PICTURE if ink.is_picture(page, letters) else None)


def _is_unmapped(text_page: "pdfium.FPDF_TEXTPAGE") -> bool:
    """Whether the fonts do not tell the letters of their shapes: PDFium then gives the shapes' numbers as letters.

    A few characters over the whole page are looked at, and more when one of them has no letter; what PDFium put in by
    itself (spaces, line ends) does not count.
    """
    characters = pdfium.FPDFText_CountChars(text_page)
    glance = range(0, characters, characters // _GLANCE + 1)
    if not any(pdfium.FPDFText_HasUnicodeMapError(text_page, index) == 1 for index in glance):
        return False
    drawn = unmapped = 0
    for index in range(0, characters, characters // _SAMPLED + 1):
        if pdfium.FPDFText_IsGenerated(text_page, index) != 1:
            drawn += 1
            unmapped += pdfium.FPDFText_HasUnicodeMapError(text_page, index) == 1
    return unmapped > max(_UNMAPPED_SHARE * drawn, 1)


def _visible_area(page: "pdfium.FPDF_PAGE") -> "pdfium.FS_RECTF":
    area = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(page, area)
    return pdfium.FS_RECTF(area.left - _MARGIN, area.top + _MARGIN, area.right + _MARGIN, area.bottom - _MARGIN)


def tidy(text: str) -> str:
    """Text as it is stored: hyphenated words joined, ligatures and compositions written out, no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _HYPHEN.sub(_join_hyphenated, text)
    text = _ODD.sub(lambda odd: _LIGATURES.get(odd[0], ""), text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return text.strip()


def _join_hyphenated(mark: re.Match[str]) -> str:
    """`Ver-|trag` is one word, `Schwarz-|Weiß` and `2013-|2014` keep their hyphen."""
    return "" if mark[1].islower() else "-"
