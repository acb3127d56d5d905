"""Half-spaces (ZWNJ) that a page's marked content tells.

A glyph without ink or width is no letter to PDFium, but tagged PDF files say beside it what it stands for
(`/ActualText`, ISO 32000-1, 14.9.4).
"""

import ctypes
from dataclasses import dataclass, field

import pypdfium2.raw as pdfium

HALF_SPACE = "\u200c"
_MOST_OBJECTS = 20_000
_LONGEST = 512  # bytes
_UTF16 = b"\xfe\xff"


@dataclass(slots=True)
class Told:
    """Places of half-spaces on their lines, and words that have some."""

    places: list[tuple[float, float]] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    """By what they are without."""


def find(page: "pdfium.FPDF_PAGE") -> Told:
    """What the innermost mark of each piece of text tells."""
    told = Told()
    buffer, length = (ctypes.c_ubyte * _LONGEST)(), ctypes.c_ulong()
    matrix = pdfium.FS_MATRIX()
    for index in range(min(pdfium.FPDFPage_CountObjects(page), _MOST_OBJECTS)):
        drawn = pdfium.FPDFPage_GetObject(page, index)
        marks = pdfium.FPDFPageObj_CountMarks(drawn)
        if marks < 1:
            continue
        mark = pdfium.FPDFPageObj_GetMark(drawn, marks - 1)
        # not ..._GetParamStringValue: that one takes UTF-16 for UTF-8
        if not pdfium.FPDFPageObjMark_GetParamBlobValue(mark, b"ActualText", buffer, _LONGEST, length):
            continue
        raw = bytes(memoryview(buffer)[: min(length.value, _LONGEST)])
        if b"\x20\x0c" not in raw or not raw.startswith(_UTF16):
            continue
        text = raw[2:].decode("utf-16-be", "replace")
        if text == HALF_SPACE and pdfium.FPDFPageObj_GetMatrix(drawn, matrix):
            told.places.append((matrix.e, matrix.f))
        told.words.update((word.replace(HALF_SPACE, ""), word) for word in text.split() if HALF_SPACE in word[1:-1])
    return told
