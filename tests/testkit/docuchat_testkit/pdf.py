"""PDF files made by the tests: of any script without a font, where each letter is a box that says which letter it
stands for, and of many pages in a standard font.
"""

from __future__ import annotations

from collections.abc import Sequence

_RIGHT, _LEFT, _ADVANCE = 520.0, 72.0, 6.0
_LINE, _MARGIN = 20, 60


def pdf_of(*lines: str) -> bytes:
    """A PDF of one page, as high as its lines need.

    A line whose first letter is Arabic or Persian is drawn from the right, as browsers do.
    """
    codes: dict[str, int] = {}
    height = max(842, 2 * _MARGIN + _LINE * len(lines))
    content = b"BT /F1 12 Tf\n"
    for row, line in enumerate(lines):
        backwards = "\u0590" < line[:1] < "\u08ff"
        for place, letter in enumerate(line):
            x = _RIGHT - _ADVANCE * (place + 1) if backwards else _LEFT + _ADVANCE * place
            code = codes.setdefault(letter, len(codes) + 1)
            content += b"1 0 0 1 %.2f %d Tm <%02x> Tj\n" % (x, height - _MARGIN - _LINE * row, code)
    content += b"ET"
    mapping = b"".join(b"<%02x> <%b>\n" % (code, _utf16(letter)) for letter, code in codes.items())
    to_unicode = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n/CMapName /X def /CMapType 2 def\n"
        b"1 begincodespacerange <00> <ff> endcodespacerange\n%d beginbfchar\n%bendbfchar\nendcmap end end"
        % (len(codes), mapping)
    )
    names = b"".join(b"/g%d" % code for code in codes.values())
    drawings = b"".join(b"/g%d %d 0 R" % (code, 6 + code) for code in codes.values())
    return _write(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[6 0 R]/Count 1>>",
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 500 700]/FontMatrix[0.001 0 0 0.001 0 0]/FirstChar 1/LastChar %d"
        b"/Widths[%b]/Encoding<</Differences[1%b]>>/CharProcs<<%b>>/ToUnicode 4 0 R/Resources<<>>>>"
        % (len(codes), b" ".join([b"500"] * len(codes)), names, drawings),
        _stream(to_unicode),
        _stream(content),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 %d]/Resources<</Font<</F1 3 0 R>>>>/Contents 5 0 R>>" % height,
        *(_stream(b"500 0 0 0 500 700 d1 0 0 500 700 re f") for _ in codes),
    )


def pages_of(*pages: Sequence[str]) -> bytes:
    """A PDF with a page for each list of lines; Western European letters only, in one of the standard fonts."""
    first = 4
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count %d>>"
        % (b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(pages))), len(pages)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for number, lines in enumerate(pages):
        shown = (line.encode("cp1252").translate(None, b"\\()") for line in lines)
        text = b" ".join(b"(%b) Tj T*" % line for line in shown)
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % (first + 2 * number + 1)
        )
        objects.append(_stream(b"BT /F1 11 Tf 60 780 Td 16 TL %b ET" % text))
    return _write(*objects)


def small_pdf(lines: Sequence[str]) -> bytes:
    """A PDF of one page with these lines."""
    return pages_of(lines)


def _utf16(letter: str) -> bytes:
    return letter.encode("utf-16-be").hex().encode()


def _stream(data: bytes) -> bytes:
    return b"<</Length %d>>\nstream\n%b\nendstream" % (len(data), data)


def _write(*objects: bytes) -> bytes:
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start, size = len(out), len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(out)
