"""Reading order of right-to-left pages, from where each glyph stands.

A PDF may draw letters in any order, and PDFium's own guess reverses words that were drawn in visual order. The
positions are the truth: glyphs of a line are sorted from left to right, then the line's logical order is recovered by
undoing the bidirectional algorithm (UAX #9): in a right-to-left line everything is read from the right, but runs of
Latin letters and numbers from the left. Characters stay as they are stored, half-spaces (ZWNJ) and marks too; only
presentation forms (U+FB50…FDFF, U+FE70…FEFC: the shapes of letters, not letters) are taken back to their letters.
"""

import ctypes
import functools
import math
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import pypdfium2.raw as pdfium

from docuchat_ingest.reading import half_spaces
from docuchat_ingest.reading.half_spaces import HALF_SPACE
from docuchat_ingest.reading.mixed_lines import BULLETS, Glyph, Page, read_line

if TYPE_CHECKING:
    from pypdf import PdfReader

_WORD = re.compile(r"\S+")
_HALF_SPACE_CODE = re.compile(rb"200[BCbc]>")  # as a target, or within a range of targets
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_PRESENTATION = re.compile("[\ufb1d-\ufdff\ufe70-\ufefc]")
_ARABIC_SHAPES, _PERSIAN_ONLY = re.compile("[يىك]"), re.compile("[پچژگ]")
_NEITHER = re.compile("[\u067c\u0689\u0693\u0696\u069a\u06ad\u06bc\u06c6-\u06c8\u06cd\u06d0\u06d5]")
"""Letters of Pashto, Kurdish and Uyghur, which tell ye from ye."""
_TO_PERSIAN = str.maketrans("يىك", "ییک")
_PERSIAN_SHARE = 0.01  # of all characters; Persian has 0.02 to 0.03, Arabic with a Persian name next to none
_ALEFS = frozenset("اأإآٱ")
_ZERO_WIDTH = frozenset("\u200b\u200c\u200d\u200e\u200f\u2060")
_LONGEST_LIGATURE = 5  # letters and marks; one of a whole phrase may have more
_SAME_PLACE = 0.01  # points
_NEAR = 0.2  # of the letter's height
_SAME_LINE = 0.35  # of the height of the taller glyph
_BULLET_GAP = 4.0  # of the bullet's height
_MOST_BULLETS = 200


def is_needed(text: str) -> bool:
    return _RIGHT_TO_LEFT.search(text) is not None


def read_page(
    page: "pdfium.FPDF_PAGE", text_page: "pdfium.FPDF_TEXTPAGE", characters: int, seen: "pdfium.FS_RECTF"
) -> str | None:
    """The text in reading order; None when positions do not tell it (turned text, a word as one glyph)."""
    told = half_spaces.find(page)
    glyphs = _read_glyphs(text_page, characters, seen, told.places)
    if not glyphs:
        return None
    lines = _split_lines(glyphs)
    bounds = Page(
        min(glyph.left for glyph in glyphs),
        max(glyph.right for glyph in glyphs),
        sum({"R": 1, "L": -1}.get(glyph.direction, 0) for glyph in glyphs) >= 0,
    )
    text = "\n".join(filter(None, (read_line(line, bounds) for line in lines)))
    if told.words:
        text = _WORD.sub(lambda word: told.words.get(word[0], word[0]), text)
    return _with_persian_letters(text)


def _with_persian_letters(text: str) -> str:
    """The letters of a Persian page whose fonts, made for Arabic, call most ye and kaf by Arabic letters."""
    called_arabic = len(_ARABIC_SHAPES.findall(text))
    if not called_arabic or called_arabic < text.count("ی") + text.count("ک") or _NEITHER.search(text):
        return text
    persian, arabic = len(_PERSIAN_ONLY.findall(text)), text.count("ة")
    return text.translate(_TO_PERSIAN) if persian > max(arabic, _PERSIAN_SHARE * len(text)) else text


class SlowReader:
    """pypdf on the same file, for what PDFium cannot tell; opened when first needed, because few documents need it
    and pypdf doubles the memory of the child.

    It keeps letters in order, but not mixed lines, and takes many times as long.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: PdfReader | None = None
        self._fonts_with_half_spaces: dict[int, bool] = {}

    def read_page(self, index: int) -> str:
        return _PRESENTATION.sub(_to_letters, self._open().pages[index].extract_text())

    def restore_half_spaces(self, text: str, index: int) -> str:
        """Put back the half-spaces (ZWNJ) of the page's words: PDFium drops a glyph that has no ink and no width."""
        try:
            if HALF_SPACE in text or not self._has_half_spaces(index):
                return text
            words = {word.replace(HALF_SPACE, ""): word for word in self.read_page(index).split() if HALF_SPACE in word}
        except Exception:  # noqa: BLE001 - pypdf gives up on some files that PDFium reads: then the text is as good as it gets
            return text
        return _WORD.sub(lambda word: words.get(word[0], word[0]), text)

    def _open(self) -> "PdfReader":
        if self._reader is None:
            from pypdf import PdfReader

            self._reader = PdfReader(self._path)
            if self._reader.is_encrypted:
                self._reader.decrypt("")
        return self._reader

    def _has_half_spaces(self, index: int) -> bool:
        resources: Any = self._open().pages[index]["/Resources"]
        return any(self._maps_half_space(font) for font in resources["/Font"].values())

    def _maps_half_space(self, reference: Any) -> bool:
        font = reference.get_object()
        number = getattr(font.indirect_reference, "idnum", None) or id(font)
        if number not in self._fonts_with_half_spaces:
            mapping = font.get("/ToUnicode")
            data = mapping.get_object().get_data() if mapping is not None else b""
            self._fonts_with_half_spaces[number] = _HALF_SPACE_CODE.search(data) is not None
        return self._fonts_with_half_spaces[number]


def _read_glyphs(
    text_page: "pdfium.FPDF_TEXTPAGE", characters: int, seen: "pdfium.FS_RECTF", places: list[tuple[float, float]]
) -> list[Glyph] | None:
    """What stands on the page, without its half-spaces, whose places are added to those told."""
    x, y = ctypes.c_double(), ctypes.c_double()
    box = pdfium.FS_RECTF()
    glyphs: list[Glyph] = []
    word = 0
    is_space_owed = False
    for index in range(characters):
        code = pdfium.FPDFText_GetUnicode(text_page, index)
        character = chr(code) if 0 < code < 0x110000 else " "
        if character.isspace():
            word += 1
            is_space_owed |= _is_turned_space(text_page, index)
            continue
        if code < 32 or 0xD800 <= code < 0xE000:
            character = "\x02" if code == 2 else ""
        is_right_to_left = _RIGHT_TO_LEFT.match(character) is not None
        if is_space_owed and is_right_to_left:
            word += 1
            is_space_owed = False
        if is_right_to_left and _is_turned(pdfium.FPDFText_GetCharAngle(text_page, index)):
            return None
        pdfium.FPDFText_GetCharOrigin(text_page, index, x, y)
        if not (seen.left <= x.value <= seen.right and seen.bottom <= y.value <= seen.top):
            continue
        last = glyphs[-1] if glyphs else None
        if character == HALF_SPACE:
            pdfium.FPDFText_GetLooseCharBox(text_page, index, box)
            if last and abs(last.left - box.left) < _SAME_PLACE and abs(last.right - box.right) < _SAME_PLACE:
                last.text = HALF_SPACE + last.text  # of one glyph, whose letters PDFium turns around
            else:  # a part of a glyph's box, on the side where it is read, or a glyph of its own
                places.append((box.right if box.left - x.value > _SAME_PLACE else x.value, y.value))
            continue
        if last and abs(last.x - x.value) < _SAME_PLACE and abs(last.y - y.value) < _SAME_PLACE and last.word == word:
            last.text += character
            continue
        pdfium.FPDFText_GetLooseCharBox(text_page, index, box)
        glyphs.append(Glyph(character, x.value, y.value, box.left, box.right, box.top - box.bottom, word))
    if any(len(glyph.text) > _LONGEST_LIGATURE for glyph in glyphs) and _has_unmapped(text_page, characters):
        return None
    for glyph in glyphs:
        glyph.text = _order_letters(glyph.text)
        glyph.direction = _direction(glyph.text)
    _attach_half_spaces(glyphs, places)
    return glyphs


def _attach_half_spaces(glyphs: list[Glyph], places: list[tuple[float, float]]) -> None:
    """Put each behind the letter on whose left side it stands."""
    if not places:
        return
    rows: dict[int, list[Glyph]] = {}
    for glyph in glyphs:
        if glyph.direction == "R":
            rows.setdefault(round(glyph.y), []).append(glyph)
    for x, y in places:
        near = [glyph for row in (-1, 0, 1) for glyph in rows.get(round(y) + row, ())]
        letter = min(near, key=lambda glyph: abs(glyph.x - x), default=None)
        if letter and abs(letter.x - x) <= _NEAR * letter.height and not letter.text.endswith(HALF_SPACE):
            letter.text += HALF_SPACE


def _has_unmapped(text_page: "pdfium.FPDF_TEXTPAGE", characters: int) -> bool:
    """Whether some glyphs have no letters: beside one that has many, it has those of its whole word."""
    return any(pdfium.FPDFText_HasUnicodeMapError(text_page, index) == 1 for index in range(characters))


def _is_turned_space(text_page: "pdfium.FPDF_TEXTPAGE", index: int) -> bool:
    """Whether a space ends the Latin words that PDFium puts behind it: it was drawn with them, on their right."""
    code = pdfium.FPDFText_GetUnicode(text_page, index + 1)
    if not (0 < code < 0x250 and chr(code).isalpha()):
        return False
    space, letter, y = ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(text_page, index, space, y)
    pdfium.FPDFText_GetCharOrigin(text_page, index + 1, letter, y)
    if space.value <= letter.value:
        return False
    drawn, other = (pdfium.FPDFText_GetTextObject(text_page, place) for place in (index, index + 1))
    return bool(drawn and other and ctypes.addressof(drawn.contents) == ctypes.addressof(other.contents))


def _is_turned(angle: float) -> bool:
    return angle >= 0 and min(angle, abs(2 * math.pi - angle)) > 0.05


def _order_letters(text: str) -> str:
    """The letters of one place: letters before marks before half-spaces, but one that comes first."""
    if len(text) == 1:
        return _PRESENTATION.sub(_to_letters, text)
    if text.startswith(HALF_SPACE):
        return HALF_SPACE + _order_letters(text[1:])
    letters = [c for c in text if not unicodedata.combining(c) and c not in _ZERO_WIDTH]
    if sum(_RIGHT_TO_LEFT.match(c) is not None for c in letters) < 2:
        marks = [c for c in text if unicodedata.combining(c)]
        return _PRESENTATION.sub(_to_letters, "".join(letters + marks + [c for c in text if c in _ZERO_WIDTH]))
    if len(letters) == 2 and "ل" in letters and (alef := next((c for c in letters if c in _ALEFS), None)):
        return "ل" + alef + "".join(c for c in text if unicodedata.combining(c))
    return _PRESENTATION.sub(_to_letters, _order_ligature(text, "".join(letters)))


def _order_ligature(text: str, letters: str) -> str:
    """The letters of a glyph that stands for several, as «لله».

    PDFium turns right-to-left letters around, those of one glyph among them, so that they come backwards unless the
    producer had written them so. Which it was shows by the order that is a ligature of Arabic script, or by a mark
    that stands before its letter.
    """
    ligatures = _ligatures()
    if letters[::-1] in ligatures:
        return text[::-1]
    if letters in ligatures or (unicodedata.combining(text[-1]) and not unicodedata.combining(text[0])):
        return text
    return text[::-1]


@functools.cache
def _ligatures() -> frozenset[str]:
    """What Unicode knows as ligatures, without marks; «لله» has no code of its own, but every Arabic font has it."""
    spelled = (unicodedata.normalize("NFKC", chr(code)) for code in (*range(0xFBEA, 0xFDFC), *range(0xFEF5, 0xFEFD)))
    letters = ("".join(c for c in text if not unicodedata.combining(c)) for text in spelled)
    return frozenset(["لله", *(text for text in letters if len(text) > 1 and " " not in text)])


def _to_letters(form: re.Match[str]) -> str:
    # A mark's isolated form decomposes to a space and the mark.
    return unicodedata.normalize("NFKC", form[0]).lstrip(" ") or form[0]


def _direction(text: str) -> str:
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "R"
        if kind == "L":
            return "L"
        if kind in ("EN", "AN"):
            return "D"
        if kind == "NSM":
            return "M"
    return "N"


def _split_lines(glyphs: list[Glyph]) -> list[list[Glyph]]:
    """Glyphs that were drawn one after the other on one baseline."""
    lines: list[list[Glyph]] = []
    for glyph in glyphs:
        line = lines[-1] if lines else None
        if line and abs(line[0].y - glyph.y) <= _SAME_LINE * max(line[0].height, glyph.height, 1.0):
            line.append(glyph)
        else:
            lines.append([glyph])
    return _with_bullets(lines)


def _with_bullets(lines: list[list[Glyph]]) -> list[list[Glyph]]:
    """Bullets that were drawn by themselves go to the lines beside which they stand."""
    bullets = [line[0] for line in lines if len(line) == 1 and line[0].text in BULLETS][:_MOST_BULLETS]
    if not bullets:
        return lines
    homeless = []
    lines = [line for line in lines if line[0] not in bullets]
    for bullet in bullets:
        home = min(lines, key=lambda line: _distance(bullet, line), default=None)
        if home and _distance(bullet, home) <= _BULLET_GAP * bullet.height:
            home.append(bullet)
        else:
            homeless.append([bullet])
    return lines + homeless


def _distance(bullet: Glyph, line: list[Glyph]) -> float:
    """Of a bullet from the nearer end of the line; endless when it stands on another line."""
    if abs(line[0].y - bullet.y) > _SAME_LINE * max(line[0].height, bullet.height):
        return math.inf
    left, right = min(glyph.left for glyph in line), max(glyph.right for glyph in line)
    return max(bullet.left - right, left - bullet.right, 0.0)
