"""Follow-up questions: which ones are not complete without what was said before, and what is searched for one of them.

English, Persian, German and Arabic are known by their words. A question in another language may always be one; nothing
but a model can tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from docuchat_chat.answers.domain import PastMessage
from docuchat_chat.answers.questions import (
    DOCUMENT_WORDS,
    STOP_WORDS,
    asks_about_document,
    stem,
    understand,
    words,
)
from docuchat_chat.answers.small_talk import remark_in, without_remarks
from docuchat_chat.answers.text import Language, language_of, shorten
from docuchat_knowledge.folding import fold

LONGEST_SEARCHED: Final = 400
"""Characters of what is searched for a follow-up question."""
_LONGEST: Final = 200
"""Characters of a question that may be one; who writes more says what is meant."""
_SHORT_WORDS, _SHORT_TEXT = 8, 80
"""Of a question in a language that is not known by its words."""
_ELLIPTIC: Final = 5
"""Words of a question that begins with a preposition and asks nothing: “in Berlin?”."""
_LOOKED_BACK: Final = 5
"""Questions before it that are looked at for what it leans on."""

_INSTEAD: Final = re.compile(
    r"\W*(?:and |but )?(?:what|how) about\b|\W*(?:und |aber )?(?:was ist|wie ist es|wie sieht es) mit\b|"
    r"\W*و?ماذا عن\b|.{1,40}\b(?:چطور|چی)\W*$"
)
_CONNECTED: Final = re.compile(
    r"\W*(?:and|but|so|or|und|aber|oder|و|اما|ولی|پس)\b|\W*و(?=کم|کیف|متی|این|هل|ماذا|لماذا|ما\b)"
)
_PREPOSITIONS: Final = frozenset(
    """
    in for with at from of to on without about during before after by für mit bei ohne von vom nach zu zum zur im am aus
    seit در برای با از بدون درباره بعد قبل فی مع بدون عن علی
    """.split()
)
_ASKING: Final = frozenset(
    """
    what who whom whose where when why which how is are was were do does did can could will would should must may has
    have was wie wer wem wen wessen wo wohin woher wann warum wieso weshalb welche welcher welches welchem welchen ist
    sind kann können darf muss gibt hat haben چیست کیست چه چرا چگونه چطور کدام کجا کجاست کی چند چقدر ایا است هست دارد
    می شود ما هل کیف این متی لماذا کم ماذا
    """.split()
)
_CONTINUING: Final = frozenset(
    """
    more else detail details explain elaborate continue again example examples further shorter longer simpler
    mehr weiter genauer erkläre erklären erklär beispiel beispiele nochmal kürzer einfacher
    بیشتر توضیح ادامه مثال دوباره ساده تر المزید اکثر اشرح مثال تفاصیل
    """.split()
)
"""They ask to go on with what was said, and name no subject."""
_POINTING: Final[dict[Language, frozenset[str]]] = {
    "en": frozenset(
        "it its they them their theirs he him his she her hers this that these those there one ones another".split()
    ),
    "de": frozenset(
        """
        er ihn ihm sie ihr ihre ihren ihrer ihnen es dessen deren dieser dieses diese diesen diesem dort davon damit
        dafür dazu dabei darin darüber daran darauf daraus danach davor dadurch letztere letzteres erstere ersteres
        """.split()
    ),
    "fa": frozenset(
        "ان این او انها اینها ایشان همان همین انجا اینجا انقدر اینقدر چنین دومی اولی سومی بعدی قبلی اخری دیگری".split()
    ),
    "ar": frozenset(
        """
        هو هی هم هما ذلک تلک هذا هذه هناک هنا منه منها عنه عنها فیه فیها له لها لهم علیه علیها به بها الیه الیها معه
        """.split()
    ),
}
"""Words that mean something that was named before."""
_EMPTY: Final = re.compile(
    r"\b(?:is|are|was|were|will) there\b|\bthere (?:is|are|was|were|will)\b|"
    r"\b(?:is|was) it (?:possible|allowed|permitted|true|necessary|important|legal|ok|okay|safe|required|better)\b|"
    r"\bdoes it mean (?:when|if|that|to)\b|\b(?:geht|gibt|handelt) es\b|\bes (?:gibt|geht)\b|"
    r"\bist es (?:möglich|erlaubt|nötig|wichtig|wahr|verboten|besser)\b|\b(?:ما|من) (?:هو|هی|هم)(?= \w)|\bهل هناک\b"
)
"""Pronouns that mean nothing but hold a place in the sentence."""
_POLITE: Final = re.compile(r"\b(?:Sie|Ihr|Ihre|Ihren|Ihrer|Ihnen)\b")
_LAST_WORD: Final = re.compile(
    r"\b(?:das|dies|(?:the|that|which) (?:first|second|third|last|next|previous|other|former|latter|same)|"
    r"(?:erste|zweite|dritte|letzte|nächste|andere)[nrsm]?)\W*$"
)
_ENDINGS: Final = re.compile(
    r"\u200c(?:اش|شان|هایش|هایشان)(?!\w)|\b(?:قیمت|نام|اسم|سن|وزن|طول|رنگ|اندازه|شماره|معنی|دلیل|علت|نویسنده)ش(?!\w)"
)
_ARABIC_ENDING: Final = re.compile(r"(?<!\w)(?!ال|هذ|في|من|عن)\w{2,}(?:ه|ها|هم)(?!\w)")
_CLAUSE: Final = re.compile(r"[,;:.!?،؛؟]+|\b(?:and|or|und|oder)\b|(?<!\w)و(?!\w)")
_TAIL: Final = re.compile(
    r"\W*(?:and |und )?(?P<preposition>in|for|with|at|from|of|to|für|mit|bei|von|nach) (?P<rest>[^?]{1,60})\W*$",
    re.IGNORECASE,
)
_URDU: Final = frozenset("ٹڈڑںےھہ")
_KNOWN: Final = frozenset(
    """
    the what who whom whose where when why which how with does did do has have could would should must can will this
    that these those there from about and are were is it its for to of not if any many much they them
    der das dem den des ist sind wie wer wem wo wann warum wieso welche welcher welches für mit von vom zum zur und oder
    nicht kein keine ein eine einen einem einer ich wir sie gibt kann können muss darf hat haben auf bei nach über
    bedeutet bedeuten worum wessen diesem dieser dieses diese geht wird werden war waren sich habe heißt gilt
    """.split()
)
_FOREIGN: Final = frozenset(
    """
    le la les et est une pour avec dans sur que quel quelle combien el los las una por para con cuánto qué dónde cómo y
    il lo che di del della quanto come dove sono e o do da os as não qual quanto het een van voor met hoeveel waar en de
    ve bir bu için ile mi ne nasıl kaç och att är det som på hur og ja jest się na czy jak
    """.split()
)


def leans(text: str) -> bool:
    """Tell whether a question in a known language is not complete without what was said before."""
    if len(text) > _LONGEST or asks_about_document(text):
        return False
    text = without_remarks(text)
    folded, found = fold(text).strip(), words(text)
    if not found:
        return False
    content = [word for word in found if _is_content(word)]
    if not content or _INSTEAD.match(folded):
        return True
    if len(content) <= 2 and _CONNECTED.match(folded):
        return True
    if found[0] in _PREPOSITIONS and len(found) <= _ELLIPTIC and not _ASKING.intersection(found):
        return True
    return _points_back(text, folded, len(content))


def may_lean(text: str) -> bool:
    """Tell whether a question may be a follow-up in a language that is not known by its words: a short one."""
    letters = [character for character in text if character.isalpha()]
    found = words(text)
    if not letters or len(found) > _SHORT_WORDS or len(text) > _SHORT_TEXT:
        return False
    if any("\u0600" <= letter <= "\u06ff" for letter in letters):
        return not _URDU.isdisjoint(letters)
    if not all(letter < "\u0250" for letter in letters):
        return True
    return sum(word in _FOREIGN for word in found) >= sum(word in _KNOWN for word in found)


def completed(question: str, history: Sequence[PastMessage]) -> str | None:
    """Return what is searched for a follow-up question where no model is asked: with what the last whole one named.

    None when nothing was asked before that could complete it.
    """
    asked = [past.content for past in history if past.role == "user" and remark_in(past.content) is None]
    before = asked[: -_LOOKED_BACK - 1 : -1]
    whole = next((text for text in before if not leans(text)), None)
    if whole is None:
        return None
    whole = shorten(" ".join(whole.split()), _LONGEST)
    own = understand(question)
    tail = _TAIL.fullmatch(question)
    if tail is not None and (replaced := _with_tail(whole, tail)) is not None:
        return replaced
    if own.expected is None and len(own.words) <= 2:
        return f"{whole} {question}"[:LONGEST_SEARCHED]
    named = {word.stem for word in own.words}
    missing = [
        word
        for word in re.findall(r"[\w\u200c/-]+", whole)
        if any(_is_content(part) and stem(part) not in named for part in words(word))
    ]
    return " ".join([question, *missing])[:LONGEST_SEARCHED]


def _with_tail(whole: str, tail: re.Match[str]) -> str | None:
    """Return “the capital of Austria” of “the capital of Germany” and “of Austria”."""
    start, found, old = whole.rpartition(f" {tail['preposition'].lower()} ")
    return f"{start}{found}{tail['rest'].strip()}" if found and len(old.split()) <= 3 else None


def _is_content(word: str) -> bool:
    return word not in STOP_WORDS and word not in _CONTINUING and (len(word) > 1 or word.isdigit())


def _points_back(text: str, folded: str, content: int) -> bool:
    """Tell whether a word means something that the question itself does not name before."""
    language = language_of(text)
    if _LAST_WORD.search(folded) and content <= 2:
        return True
    if language == "fa" and _ENDINGS.search(text) and content <= 2:
        return True
    if language == "ar" and _ARABIC_ENDING.search(text) and content <= 2:
        return True
    pointing = _POINTING[language]
    if language in {"en", "de"}:  # which of the two a few words are in is a guess
        pointing, folded = _POINTING["en"] | _POINTING["de"], fold(_POLITE.sub(" ", text))
    named = 0
    for clause in _CLAUSE.split(_EMPTY.sub(" ", folded)):
        found, before = words(clause), named
        for place, word in enumerate(found):
            following = found[place + 1] if place + 1 < len(found) else ""
            is_pointing = word in pointing and following not in DOCUMENT_WORDS
            if is_pointing and (named == 0 or (before == 0 and named < 2)):
                return True
            named += _is_content(word) and word not in pointing
    return False
