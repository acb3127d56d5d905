"""What a question asks for: its subject, the kind of answer it expects, and whether it is about the document itself."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from docuchat_knowledge.folding import fold

Expected = Literal["person", "time", "number", "list", "definition"]

_WORD = re.compile(r"\w+")
_ENDINGS = ("ies", "ing", "ed", "es", "en", "er", "em", "s", "e", "n")
_SHORTEST, _LONGEST = 4, 8

STOP_WORDS = frozenset(
    """
    the is are was were be been being am and or not no a an how what who whom whose where when why which with for on of
    to in into at by from as about do does did done has have had can could will would shall should must may might it its
    this that these those there here they them their he she his her you your we our i me my many much long often kind
    kinds type types sort name names named called call give gives given tell say says said mean means any some all one
    every also only other than then so such if but up out please something us does per between during after before most
    der die das den dem des ist sind war waren wird werden wurde wurden und oder nicht kein keine ein eine einen einem
    einer eines wie was wer wem wen wessen wo wohin woher wann warum wieso weshalb welche welcher welches welchem
    welchen
    mit für auf von vom zu zum zur im in an am bei aus nach vor über unter durch um es er sie ihr ihre sein seine man
    viel viele vielen lange hat haben hatte hatten kann können könnte soll muss müssen darf gibt gab heißt heissen
    heißen nennt genannt bezeichnet bedeutet bedeuten als auch noch nur dass diese dieser dieses diesem diesen sich
    seit bis welch gilt tut tun mir mich ich du wir uns ca art arten werde worden
    wofür wodurch woher wohin wovon womit woran worauf worin woraus worum wozu worüber wonach wobei inwiefern inwieweit
    wieviel wieviele laut bezug zuge mal jhd jh besondere besonderes statt
    است هست هستند بود بودند شد شده می شود شوند چیست کیست چه را از به که این ان برای چگونه چطور کدام کدامند کداماند در با
    و یا چند چقدر کجا کجاست کی چرا ایا بر تا هر یک دو خود دارد دارند داشت کرد کرده کند کنند کنم کن باید باشد باشند چیزی
    کسی کسانی گویند میگویند گفته میشود میشوند نام دارای وجود نیز هم یا ها های ای اند او انها ما من شما پس اگر ولی
    توسط مورد روی زیر بین بعد قبل چنین همه بگو بده نمود نموده گردید شدند کردند
    في من على ما هو هي هل كيف کیف الی إلى عن التي الذي هذا هذه ذلك ماذا أين این متى متی لماذا لمادا كم کم و أو او ان
    أن كان کان كانت کانت يكون
    """.split()
)
DOCUMENT_WORDS = frozenset(
    """
    document documents text file files book paper article report pdf script manual content contents short briefly
    shortly main whole key points
    dokument dokuments dokumente text textes datei buch skript bericht artikel handbuch kurz inhalt ganze
    سند متن فایل کتاب مقاله گزارش نوشته راهنما کوتاه مختصر محتوا محتوای
    المستند الوثیقه وثیقه النص نص ملف الملف الکتاب باختصار
    """.split()
)
_GIST = frozenset(
    """
    about summary summarise summarize summarised summarized sum topic subject theme overview gist abstract deal deals
    worum geht handelt zusammenfassung zusammen zusammenfassen fasse thema überblick steht inhalt
    خلاصه چکیده موضوع درباره مورد
    موضوع ملخص لخص لخصی عن یتحدث
    """.split()
)
_EXPECTED: tuple[tuple[Expected, re.Pattern[str]], ...] = (
    (
        "number",
        re.compile(
            r"\bhow (many|much|far|long|tall|high|old|large|big|deep|fast)\b|\bwie (viele?n?|lange|hoch|groß|alt|"
            r"weit|teuer|stark|schwer|schnell|tief)\b|\bwas kostet|چند(?! نوع)|چقدر|\bكم\b|\bکم\b",
            re.IGNORECASE,
        ),
    ),
    (
        "time",
        re.compile(
            r"\b(when|what year|which year)\b|\b(wann|in welchem jahr)\b|چه زمانی|چه سالی|کی\b|متى", re.IGNORECASE
        ),
    ),
    (
        "person",
        re.compile(r"\b(who|whom|whose)\b|\b(wer|wem|wen|wessen)\b|چه کسی|چه کسانی|کیست|\bمن هو\b", re.IGNORECASE),
    ),
    (
        "list",
        re.compile(
            r"\b(which|what) (?!(is|was|does|has)\b)([\w-]+ ){0,2}?[\w-]{2,}(?<!s)s\b|^\W*what are (the|all)\b|"
            r"^\W*(list|name|enumerate)\b|\bsteps\b|\b(welche|nenne|liste|aufzählen)\b|\bwas sind (die|alle)\b|"
            r"\b(schritte|kapitel)\b|کدام.?اند|(کدام|چه) \S*ها|مراحل|فهرست|نام ببر|\bما هي\b|خطوات|اذكر",
            re.IGNORECASE,
        ),
    ),
    (
        "definition",
        re.compile(
            r"^\W*what (is|are|was|were) (a |an |the )?[\w/.-]+( [\w/.-]+)?\W*$|what does .* mean|^\W*define\b|"
            r"^\W*was (ist|sind|bedeutet|heißt|versteht man)\b|wann (heißt|nennt)|"
            r"چیست|یعنی چه|برای چیست|ما (هو|هي|معنى)",
            re.IGNORECASE,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Word:
    """A content word of a question."""

    stem: str
    plain: str
    """Folded, without accents."""
    is_name: bool
    """Written with a capital, so a name or a German noun; or a number."""
    is_joined: bool = False
    """Its neighbour has a capital too: together they name one thing, in German as well."""

    @property
    def weight(self) -> float:
        """Names and numbers weigh most: an answer that lacks them is about something else."""
        return 1.5 if self.is_name else 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question taken apart."""

    words: tuple[Word, ...]
    """Its content words, each stem once."""
    expected: Expected | None

    @property
    def subject(self) -> dict[str, float]:
        """The stems of its content words and how much each weighs."""
        return {word.stem: word.weight for word in self.words}


@lru_cache(maxsize=20_000)
def unaccented(word: str) -> str:
    """Take the accents off a word."""
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Cut a folded word to what its inflections share; light, and the same for all languages."""
    word = unaccented(word)
    if word[0].isdigit():
        return word
    for ending in _ENDINGS:
        if word.isascii() and word.endswith(ending) and len(word) - len(ending) >= _SHORTEST - (len(ending) == 1):
            word = word[: -len(ending)]
            break
    return word[:_LONGEST]


def words(text: str) -> list[str]:
    """Return the folded words of a text, in order."""
    return _WORD.findall(fold(text))


def stems(text: str) -> list[str]:
    """Return the stems of a text's words, in order."""
    return [stem(word) for word in words(text)]


def understand(text: str) -> Question:
    """Take a question apart."""
    written = [word for word in _WORD.findall(text) if fold(word)][1:]
    names = {stem(fold(word)) for word in written if word[0].isupper()}
    pairs = [pair for pair in pairwise(written) if all(word[0].isupper() for word in pair)]
    joined = {stem(fold(word)) for pair in pairs for word in pair}
    content = {
        stem(word): unaccented(word)
        for word in words(text)
        if word not in STOP_WORDS and (len(word) > 1 or word.isdigit())
    }
    expected = next((kind for kind, pattern in _EXPECTED if pattern.search(text)), None)
    return Question(
        tuple(
            Word(found, plain, found in names or plain[0].isdigit(), found in joined)
            for found, plain in content.items()
        ),
        expected,
    )


def asks_about_document(text: str) -> bool:
    """Tell whether a question is about the document as a whole: what it deals with, or a summary."""
    found = set(_WORD.findall(fold(text)))
    content = {word for word in found if word not in STOP_WORDS or word in _GIST}
    return bool(content & _GIST) and content <= _GIST | DOCUMENT_WORDS
