"""A line of a right-to-left page in the order of reading: the rules that laid it out (UAX #9), taken backwards."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

_PERCENT = frozenset("%٪‰")
BULLETS = frozenset("•◦▪‣●○■")
_SENTENCE_ENDS = frozenset(".!?:;،؛؟")
_SIGNS = frozenset("#$&*<=>@\\^_`|~")
_KINDS = {bracket: pair for pair in ("()", "[]", "{}", "<>", "«»") for bracket in pair}
_OPENING = frozenset(pair[0] for pair in _KINDS.values())
_COLUMN_GAP = 3.0  # of the height of the taller glyph
_WORD_GAP = 0.12  # of the same; beside punctuation, which PDFium may count to the wrong word
_TOUCHING = 0.03  # of the same; no space is so narrow, whatever PDFium says
_CLEARLY = 3  # times as many right-to-left letters as others: no doubt about such a line


@dataclass(slots=True)
class Glyph:
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
class Page:
    """Its outermost glyphs, and whether most of its letters are right-to-left ones."""

    left: float
    right: float
    from_right: bool


def read_line(line: list[Glyph], page: Page) -> str:
    directions = [glyph.direction for glyph in line]
    glyphs = sorted(line, key=lambda glyph: glyph.x)
    if "R" in directions:
        glyphs = _without_stretching(glyphs)
    glyphs = _with_spaces(_attach_marks(glyphs))
    if "R" not in directions:
        return "".join(glyph.text for glyph in glyphs).strip()
    from_right = _starts_right(glyphs, page)
    resolved = _resolve(glyphs, from_right)
    order = _reading_order(resolved, from_right)
    return _pair_brackets([(glyphs[i].text, resolved[i]) for i in order]).strip()


def _starts_right(glyphs: list[Glyph], page: Page) -> bool:
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


def _attach_marks(glyphs: list[Glyph]) -> list[Glyph]:
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


def _without_stretching(glyphs: list[Glyph]) -> list[Glyph]:
    """Drop the strokes that stretch a word to the margin: producers map them to no letter, so that PDFium takes the
    number of the shape for one. No other Latin letter or sign touches Arabic ones on both sides.
    """
    kept: list[Glyph] = []
    start = 0
    while start < len(glyphs):
        end = start + 1
        if _is_stroke(glyphs[start]):
            while end < len(glyphs) and glyphs[end].text == glyphs[start].text:
                end += 1
            around = [*kept[-1:], *glyphs[start : end + 1]]
            joins = len(around) == end - start + 2 and around[0].direction == around[-1].direction == "R"
            if joins and all(right.left - left.right <= _TOUCHING * left.height for left, right in pairwise(around)):
                kept[-1].right = around[-2].right
                start = end
                continue
        kept.extend(glyphs[start:end])
        start = end
    return kept


def _is_stroke(glyph: Glyph) -> bool:
    return len(glyph.text) == 1 and glyph.text.isascii() and (glyph.text.isalpha() or glyph.text in _SIGNS)


def _with_spaces(glyphs: list[Glyph]) -> list[Glyph]:
    """A space where two words meet, a tab where a column ends."""
    height = max((glyph.height for glyph in glyphs), default=0.0)
    spaced: list[Glyph] = []
    for glyph in glyphs:
        if spaced:
            before = spaced[-1]
            gap = glyph.left - before.right
            apart = before.word != glyph.word
            if "N" in (before.direction, glyph.direction):
                apart = gap > _WORD_GAP * height
            elif before.direction == glyph.direction == "R":
                apart = apart and gap > _TOUCHING * height
            if apart or glyph.text in BULLETS or before.text in BULLETS:
                text = "\t" if gap > _COLUMN_GAP * height else " "
                spaced.append(Glyph(text, before.right, glyph.y, before.right, glyph.left, 0, glyph.word))
        spaced.append(glyph)
    return spaced


def _resolve(glyphs: list[Glyph], from_right: bool) -> list[str]:
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


def _join_numbers(glyphs: list[Glyph], directions: list[str], base: str) -> list[str]:
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


def _follows_arabic(glyphs: list[Glyph], directions: list[str], index: int, base: str) -> bool:
    """Whether the last letter before this place of the line is an Arabic one: digits behind it are Arabic numbers."""
    before = next((side for side in reversed(directions[:index]) if side in ("L", "R")), base)
    if before == "L":
        return False
    letter = next((glyph for glyph in glyphs[index + 1 :] if glyph.direction in ("L", "R")), None)
    return letter is not None and unicodedata.bidirectional(letter.text[0]) == "AL"


def _list_marker(glyphs: list[Glyph], directions: list[str]) -> int:
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
        elif matches if (closes := _closes(texts, index)) is None else closes:
            texts[index] = kind[1]
            if matches:
                open_brackets.pop()
        else:
            texts[index] = kind[0]
            open_brackets.append(index)
    return "".join(texts)


def _closes(texts: list[str], index: int) -> bool | None:
    """Whether a bracket hangs on what is before it, as `1)`, or stands before a word; None when both or neither."""
    before, after = texts[index - 1] if index else " ", texts[index + 1] if index + 1 < len(texts) else " "
    hangs = not before.isspace() and before not in _OPENING
    stands = not after.isspace() and after not in _SENTENCE_ENDS and after not in _KINDS
    return hangs if hangs != stands else None
