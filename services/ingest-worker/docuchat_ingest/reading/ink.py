"""How much of a page is a picture: what is drawn there may be text that only text recognition can read."""

import ctypes
from collections.abc import Iterator

import pypdfium2.raw as pdfium

PICTURE_SHARE = 0.4
"""Of the page's area: so large a picture with hardly any text on the page is taken for a scan."""
_LETTERS_OF_A_STAMP = 100
"""Letters on a page of so much picture that prove nothing: a scanner app's name, a page number, a date."""
_LETTERS_AS_OUTLINES = 400
"""Filled shapes on a page without text: letters that were turned into drawings."""
_DEEPEST = 3
_MOST_OBJECTS = 20_000


def is_picture(page: "pdfium.FPDF_PAGE", letters: int) -> bool:
    """Whether the page's ink is a picture beside which its text, of so many letters, is nothing."""
    if letters >= _LETTERS_OF_A_STAMP:
        return False
    area = pdfium.FPDF_GetPageWidthF(page) * pdfium.FPDF_GetPageHeightF(page)
    covered, shapes = 0.0, 0
    for drawn in _objects(page):
        kind = pdfium.FPDFPageObj_GetType(drawn)
        if kind == pdfium.FPDF_PAGEOBJ_TEXT and _is_invisible(drawn):
            return False  # text recognition has laid it under the picture: it is all that there is to read
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            covered += _area(drawn)
        elif kind == pdfium.FPDF_PAGEOBJ_PATH:
            shapes += 1
    return (area > 0 and covered >= PICTURE_SHARE * area) or (letters == 0 and shapes >= _LETTERS_AS_OUTLINES)


def _objects(page: "pdfium.FPDF_PAGE") -> Iterator["pdfium.FPDF_PAGEOBJECT"]:
    """What is drawn, forms opened, up to a bound."""
    waiting = [
        (pdfium.FPDFPage_GetObject(page, index), 0)
        for index in range(min(pdfium.FPDFPage_CountObjects(page), _MOST_OBJECTS))
    ]
    seen = 0
    while waiting and seen < _MOST_OBJECTS:
        drawn, depth = waiting.pop()
        seen += 1
        if pdfium.FPDFPageObj_GetType(drawn) == pdfium.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            within = min(max(pdfium.FPDFFormObj_CountObjects(drawn), 0), _MOST_OBJECTS - len(waiting))
            waiting.extend((pdfium.FPDFFormObj_GetObject(drawn, index), depth + 1) for index in range(within))
        else:
            yield drawn


def _is_invisible(text: "pdfium.FPDF_PAGEOBJECT") -> bool:
    return bool(pdfium.FPDFTextObj_GetTextRenderMode(text) == pdfium.FPDF_TEXTRENDERMODE_INVISIBLE)


def _area(drawn: "pdfium.FPDF_PAGEOBJECT") -> float:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not pdfium.FPDFPageObj_GetBounds(drawn, left, bottom, right, top):
        return 0.0
    return float(max(right.value - left.value, 0.0) * max(top.value - bottom.value, 0.0))
