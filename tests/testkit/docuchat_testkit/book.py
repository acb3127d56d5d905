"""A book of 117 pages that nobody has to bring along: the same at each run, every sentence of it different."""

from __future__ import annotations

import random
from textwrap import wrap

from docuchat_testkit.pdf import pages_of

PAGES = 117
DEFINITION_PAGE = 57
DEFINITION = (
    "Ein metrischer Raum ist eine Menge zusammen mit einer Metrik, die je zwei Punkten einen Abstand zuordnet. "
    "Der Abstand ist symmetrisch, nur für gleiche Punkte null und erfüllt die Dreiecksungleichung."
)

_WHO = "der Gärtner|die Brücke|das Gebirge|der Kanal|die Sternwarte|das Archiv|der Müller|die Fähre".split("|")
_DOES = "verbindet|beschreibt|erreicht|verändert|begrenzt|versorgt|überragt|ordnet|erneuert|vermisst".split("|")
_WHAT = (
    "den nördlichen Hafen|eine alte Karte|das untere Tal|die Quelle am Hang|einen langen Briefwechsel|"
    "das Verzeichnis der Pflanzen|die Mauer der Stadt|einen vergessenen Weg|das Netz der Straßen"
).split("|")
_WHEN = "im Frühjahr|nach der Ernte|seit dem Umbau|vor dem ersten Schnee|an jedem Markttag|im dritten Jahr".split("|")


def book() -> bytes:
    """The book as a PDF; its chapters are numbered, and one page defines a metric space."""
    chance = random.Random(57)
    pages = []
    for number in range(1, PAGES + 1):
        sentences = [
            f"Im Jahr {chance.randint(1400, 1999)} {chance.choice(_DOES)} {chance.choice(_WHO)} "
            f"{chance.choice(_WHEN)} {chance.choice(_WHAT)} zum {chance.randint(2, 90)}. Mal."
            for _ in range(26)
        ]
        if number == DEFINITION_PAGE:
            sentences[4:8] = [DEFINITION]
        pages.append([f"Kapitel {number}", "", *wrap(" ".join(sentences), 95)])
    return pages_of(*pages)
