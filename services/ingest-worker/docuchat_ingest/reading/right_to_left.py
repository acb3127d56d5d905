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
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pypdfium2.raw as pdfium

if TYPE_CHECKING:
    from pypdf import PdfReader

_WORD = re.compile(r"\S+")
_HALF_SPACE_CODE = re.compile(rb"200[BCbc]>")  # as a target, or within a range of targets
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_PRESENTATION = re.compile("[\ufb1d-\ufdff\ufe70-\ufefc]")
_PERCENT = frozenset("%٪‰")
_BULLETS = frozenset("•◦▪‣●○■")
_SENTENCE_ENDS = frozenset(".!?:;،؛؟")
_KINDS = {bracket: pair for pair in ("()", "[]", "{}", "<>", "«»") for bracket in pair}
_ALEFS = frozenset("اأإآٱ")
_ZERO_WIDTH = frozenset("\u200b\u200c\u200d\u200e\u200f\u2060")
_LONGEST_LIGATURE = 5  # letters and marks; one of a whole phrase may have more
_SAME_PLACE = 0.01  # points
_SAME_LINE = 0.35  # of the height of the taller glyph
_COLUMN_GAP = 3.0  # of the same
_WORD_GAP = 0.12  # of the same; beside punctuation, which PDFium may count to the wrong word
_CLEARLY = 3  # times as many right-to-left letters as others: no doubt about such a line


@dataclass(slots=True)
class _Glyph:
    """One drawn glyph: its letters in reading order, and its place; glyphs of one word share `word`."""

    text: str
    x: float
    y: float
    left: float
    right: float
    height: float
    word: int
    direction: str = "N"


@dataclass(frozen=True, slots=True)
class _Page:
    """Its outermost glyphs, and whether most of its letters are right-to-left ones."""

    left: float
    right: float
    from_right: bool


def is_needed(text: str) -> bool:
    return _RIGHT_TO_LEFT.search(text) is not None


def read_page(text_page: "pdfium.FPDF_TEXTPAGE", characters: int, seen: "pdfium.FS_RECTF") -> str | None:
    """The text in reading order; None when positions do not tell it (turned text, a word as one glyph)."""
    glyphs = _read_glyphs(text_page, characters, seen)
    if not glyphs:
        return None
    lines = _split_lines(glyphs)
    page = _Page(
        min(glyph.left for glyph in glyphs),
        max(glyph.right for glyph in glyphs),
        sum({"R": 1, "L": -1}.get(glyph.direction, 0) for glyph in glyphs) >= 0,
    )
    return "\n".join(filter(None, (_read_line(line, page) for line in lines)))


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
            if not self._has_half_spaces(index):
                return text
            words = {word.replace("\u200c", ""): word for word in self.read_page(index).split() if "\u200c" in word}
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


def _read_glyphs(text_page: "pdfium.FPDF_TEXTPAGE", characters: int, seen: "pdfium.FS_RECTF") -> list[_Glyph] | None:
    x, y = ctypes.c_double(), ctypes.c_double()
    box = pdfium.FS_RECTF()
    glyphs: list[_Glyph] = []
    word = 0
    for index in range(characters):
        code = pdfium.FPDFText_GetUnicode(text_page, index)
        character = chr(code) if 0 < code < 0x110000 else " "
        if character.isspace():
            word += 1
            continue
        if code < 32 or 0xD800 <= code < 0xE000:
            character = "\x02" if code == 2 else ""
        if _RIGHT_TO_LEFT.match(character) and _is_turned(pdfium.FPDFText_GetCharAngle(text_page, index)):
            return None
        pdfium.FPDFText_GetCharOrigin(text_page, index, x, y)
        if not (seen.left <= x.value <= seen.right and seen.bottom <= y.value <= seen.top):
            continue
        last = glyphs[-1] if glyphs else None
        if last and abs(last.x - x.value) < _SAME_PLACE and abs(last.y - y.value) < _SAME_PLACE and last.word == word:
            last.text += character
            continue
        pdfium.FPDFText_GetLooseCharBox(text_page, index, box)
        glyphs.append(_Glyph(character, x.value, y.value, box.left, box.right, box.top - box.bottom, word))
    if any(len(glyph.text) > _LONGEST_LIGATURE for glyph in glyphs) and _has_unmapped(text_page, characters):
        return None
    for glyph in glyphs:
        glyph.text = _order_letters(glyph.text)
        glyph.direction = _direction(glyph.text)
    return glyphs


def _has_unmapped(text_page: "pdfium.FPDF_TEXTPAGE", characters: int) -> bool:
    """Whether some glyphs have no letters: beside one that has many, it has those of its whole word."""
    return any(pdfium.FPDFText_HasUnicodeMapError(text_page, index) == 1 for index in range(characters))


def _is_turned(angle: float) -> bool:
    return angle >= 0 and min(angle, abs(2 * math.pi - angle)) > 0.05


def _order_letters(text: str) -> str:
    """The letters of one place: letters before marks before half-spaces."""
    if len(text) == 1:
        return _PRESENTATION.sub(_to_letters, text)
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


def _split_lines(glyphs: list[_Glyph]) -> list[list[_Glyph]]:
    """Glyphs that were drawn one after the other on one baseline."""
    lines: list[list[_Glyph]] = []
    for glyph in glyphs:
        line = lines[-1] if lines else None
        if line and abs(line[0].y - glyph.y) <= _SAME_LINE * max(line[0].height, glyph.height, 1.0):
            line.append(glyph)
        else:
            lines.append([glyph])
    return lines


def _read_line(line: list[_Glyph], page: _Page) -> str:
    directions = [glyph.direction for glyph in line]
    glyphs = _with_spaces(_attach_marks(sorted(line, key=lambda glyph: glyph.x)))
    if "R" not in directions:
        return "".join(glyph.text for glyph in glyphs).strip()
    from_right = _starts_right(glyphs, page)
    resolved = _resolve(glyphs, from_right)
    order = _reading_order(resolved, from_right)
    return _pair_brackets([(glyphs[i].text, resolved[i]) for i in order]).strip()


def _starts_right(glyphs: list[_Glyph], page: _Page) -> bool:
    """Whether a line with right-to-left letters is read from the right.

    In a mixed one the end that its sentence stops at tells, else the margin that it keeps, else the page.
    """
    directions = [glyph.direction for glyph in glyphs]
    if directions.count("R") > _CLEARLY * directions.count("L"):
        return True
    letters = [side for side in directions if side in ("L", "R")]
    stops_left = glyphs[0].text in _SENTENCE_ENDS and letters[0] == "R"
    stops_right = glyphs[-1].text in _SENTENCE_ENDS and letters[-1] == "R"
    if stops_left != stops_right:
        return stops_left
    left_gap, right_gap = glyphs[0].left - page.left, page.right - glyphs[-1].right
    if abs(left_gap - right_gap) > max(glyph.height for glyph in glyphs):
        return right_gap < left_gap
    return page.from_right


def _attach_marks(glyphs: list[_Glyph]) -> list[_Glyph]:
    """Put vowel marks that were drawn by themselves behind the letter they stand over."""
    bases = [glyph for glyph in glyphs if glyph.direction != "M"]
    if not bases:
        return glyphs
    for mark in glyphs:
        if mark.direction == "M":
            center = (mark.left + mark.right) / 2
            base = min(bases, key=lambda glyph: abs((glyph.left + glyph.right) / 2 - center))
            base.text += mark.text
    return bases


def _with_spaces(glyphs: list[_Glyph]) -> list[_Glyph]:
    """A space where two words meet, a tab where a column ends."""
    height = max((glyph.height for glyph in glyphs), default=0.0)
    spaced: list[_Glyph] = []
    for glyph in glyphs:
        if spaced:
            before = spaced[-1]
            gap = glyph.left - before.right
            apart = before.word != glyph.word
            if "N" in (before.direction, glyph.direction):
                apart = gap > _WORD_GAP * height
            if apart or glyph.text in _BULLETS or before.text in _BULLETS:
                text = "\t" if gap > _COLUMN_GAP * height else " "
                spaced.append(_Glyph(text, before.right, glyph.y, before.right, glyph.left, 0, glyph.word))
        spaced.append(glyph)
    return spaced


def _resolve(glyphs: list[_Glyph], from_right: bool) -> list[str]:
    """A direction for each glyph, in visual order: R, L, or D for a number by itself."""
    base = "R" if from_right else "L"
    directions = _join_numbers(glyphs, [glyph.direction for glyph in glyphs], base)
    marker = _list_marker(glyphs, directions) if from_right else len(glyphs)
    strong = base
    for index, direction in enumerate(directions):  # a number with Latin on its left continues it, else stands alone
        if direction in ("L", "R"):
            strong = direction
        elif direction == "D" and strong == "L" and index < marker:
            directions[index] = "L"
    index = 0
    while index < len(directions):  # what stands between two equals is like them, else like the line
        if directions[index] not in ("N", "M"):
            index += 1
            continue
        end = index
        while end < len(directions) and directions[end] in ("N", "M"):
            end += 1
        sides = {"R" if side == "D" else side for side in (directions[index - 1 : index] or [base])}
        sides |= {"R" if side == "D" else side for side in (directions[end : end + 1] or [base])}
        column = any(glyph.text == "\t" for glyph in glyphs[index:end])
        directions[index:end] = [base if column or len(sides) > 1 else sides.pop()] * (end - index)
        index = end
    return directions


def _join_numbers(glyphs: list[_Glyph], directions: list[str], base: str) -> list[str]:
    """Make what belongs to a number part of it: the point of 3.11, the colon of 10:30; where no Arabic letter comes
    before also hyphens (2026-01-15), currencies and percent signs (rules W2 to W6 of UAX #9).
    """
    joined = list(directions)
    for index, glyph in enumerate(glyphs):
        if directions[index] != "N":
            continue
        kind = unicodedata.bidirectional(glyph.text[0]) if glyph.text else "ON"
        left, right = directions[index - 1 : index] == ["D"], directions[index + 1 : index + 2] == ["D"]
        if kind == "CS":
            belongs = left and right
        elif kind == "ES":
            belongs = left and right and not _follows_arabic(glyphs, directions, index, base)
        elif kind == "ET":  # nobody writes a percent sign before the number and another word right behind it
            stands_free = left and glyph.text in _PERCENT
            belongs = stands_free or ((left or right) and not _follows_arabic(glyphs, directions, index, base))
        else:
            belongs = False
        if belongs:
            joined[index] = "D"
    return joined


def _follows_arabic(glyphs: list[_Glyph], directions: list[str], index: int, base: str) -> bool:
    """Whether the last letter before this place of the line is an Arabic one: digits behind it are Arabic numbers."""
    before = next((side for side in reversed(directions[:index]) if side in ("L", "R")), base)
    if before == "L":
        return False
    letter = next((glyph for glyph in glyphs[index + 1 :] if glyph.direction in ("L", "R")), None)
    return letter is not None and unicodedata.bidirectional(letter.text[0]) == "AL"


def _list_marker(glyphs: list[_Glyph], directions: list[str]) -> int:
    """Where the number of a list item starts at the right end of the line (`1.` or `1)`); beyond the end if there is
    none.
    """
    start = len(glyphs)
    while start and directions[start - 1] == "D":
        start -= 1
    return start if start and start < len(glyphs) and glyphs[start - 1].text in ".)(-" else len(glyphs)


def _reading_order(resolved: list[str], from_right: bool) -> list[int]:
    """Indexes of the visual line in the order of reading."""
    order = list(range(len(resolved)))
    if from_right:
        order.reverse()
        _turn_runs(order, resolved, lambda kind: kind == "L")
        _turn_runs(order, resolved, lambda kind: kind == "D")
    else:
        _turn_runs(order, resolved, lambda kind: kind in ("R", "D"))
        _turn_runs(order, resolved, lambda kind: kind == "D")
    return order


def _turn_runs(order: list[int], resolved: list[str], belongs: Callable[[str], bool]) -> None:
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and belongs(resolved[order[end]]):
            end += 1
        order[start:end] = order[start:end][::-1]
        start = max(end, start + 1)


def _pair_brackets(line: list[tuple[str, str]]) -> str:
    """Give brackets of right-to-left runs the form that pairs: they may have been stored by meaning or by shape."""
    texts = [text for text, _ in line]
    open_brackets: list[int] = []
    for index, (text, direction) in enumerate(line):
        kind = _KINDS.get(text)
        if kind is None:
            continue
        matches = bool(open_brackets) and _KINDS[texts[open_brackets[-1]]] == kind
        if direction != "R":
            if text == kind[0]:
                open_brackets.append(index)
            elif matches:
                open_brackets.pop()
        elif matches:
            texts[index] = kind[1]
            open_brackets.pop()
        else:
            texts[index] = kind[0]
            open_brackets.append(index)
    for index in open_brackets:  # one by itself closes when it hangs on what is before it: `1)`
        kind = _KINDS[texts[index]]
        hangs = index > 0 and not texts[index - 1].isspace() and texts[index + 1 : index + 2] in ([], [" "], ["\t"])
        if line[index][1] == "R" and hangs:
            texts[index] = kind[1]
    return "".join(texts)
