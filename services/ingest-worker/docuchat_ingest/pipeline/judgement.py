"""Whether what was read of a document is the document."""

from collections.abc import Sequence

from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.formats import PageText, Problem
from docuchat_ingest.reading.legibility import has_words

_STAMP_LETTERS = 100
"""Different letters and digits in all of a document of pictures that are no text of it: a scanner app's stamp."""


def judge(pages: Sequence[PageText]) -> int:
    """How many pages could not be read. Raises Unreadable when that is all there is: `no_text_layer` for pictures,
    `unreadable_text` for letters that are none.
    """
    unread = [page for page in pages if page.problem]
    read = [page.text for page in pages if not page.problem and any(map(str.isalnum, page.text))]
    if not read:
        # a stamp says the same on each page, but for a number or a date
        lines = {"".join(filter(str.isalpha, line)) for page in unread for line in page.text.splitlines()}
        if sum(map(len, lines)) < _STAMP_LETTERS:
            garbled = any(page.problem is Problem.GARBLED for page in unread)
            raise Unreadable("unreadable_text" if garbled else "no_text_layer")
    if not has_words("\n".join(page.text for page in pages)):
        raise Unreadable("unreadable_text")
    return len(unread)
