from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.reading import pdf

Count = Callable[[str], int]


def assert_sound(pages: list[str], chunker: Chunker, count: Count, size: int) -> None:
    text = "\f".join(pages)
    chunks = chunker.split(pages)
    covered = 0
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert text[chunk.char_start : chunk.char_end] == chunk.text
        assert chunk.token_count == count(chunk.text) <= size
        assert not text[covered : chunk.char_start].strip(), "text between two chunks is lost"
        assert (chunk.page, chunk.page_to) == (
            1 + text[: chunk.char_start].count("\f"),
            1 + text[: chunk.char_end].count("\f"),
        )
        assert 1 <= chunk.page <= chunk.page_to <= len(pages)
        covered = max(covered, chunk.char_end)
    assert not text[covered:].strip()


@pytest.mark.parametrize("name", ["geotopo-book-de.pdf", "persian-guide-chromium.pdf", "multicolumn.pdf"])
def test_chunks_of_real_files_are_exact(samples: Path, count_tokens: Count, name: str) -> None:
    with pdf.open_document(str(samples / name), 500) as document:
        pages = [page.text for page in document.pages()]
    chunker = Chunker(count_tokens, size=400, overlap=40)
    assert_sound(pages, chunker, count_tokens, 400)
    chunks = chunker.split(pages)
    text = "\f".join(pages)
    repeated = [
        count_tokens(text[after.char_start : before.char_end]) if after.char_start < before.char_end else 0
        for before, after in pairwise(chunks)
    ]
    assert max(repeated) <= 44, "the overlap is measured by its parts, which may merge differently"
    assert sum(repeated) / len(repeated) >= 25, "a chunk repeats the end of the one before"
    assert sum(chunk.token_count for chunk in chunks) / len(chunks) > 300
    starts = [0]
    for page in pages:
        starts.append(starts[-1] + len(page) + 1)
    for chunk in chunks:
        assert starts[chunk.page - 1] <= chunk.char_start < starts[chunk.page]
        assert starts[chunk.page_to - 1] < chunk.char_end <= starts[chunk.page_to]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pages=st.lists(
        st.text(st.sampled_from("abc xyz.!? \n\u200cکتابخانهمی،۱۲e\u0301🏽👩\u200d👩日本。"), max_size=300),
        min_size=1,
        max_size=4,
    )
)
def test_no_text_is_lost_and_no_chunk_too_long(count_tokens: Count, pages: list[str]) -> None:
    assert_sound(pages, Chunker(count_tokens, size=20, overlap=4), count_tokens, 20)


def test_a_monstrous_word_is_cut_between_letters(count_tokens: Count) -> None:
    word = "می\u200cخواهم\u064e" * 600
    chunks = Chunker(count_tokens, size=50, overlap=5).split([word])
    letters = set(accumulate_graphemes(word))
    assert all(chunk.token_count <= 50 for chunk in chunks)
    assert all(chunk.char_start in letters for chunk in chunks)


def accumulate_graphemes(word: str) -> list[int]:
    return [match.start() for match in regex.finditer(r"\X", word)]


def test_half_spaces_are_no_place_to_cut(count_tokens: Count) -> None:
    text = "نمی\u200cخواهم کتاب\u200cهای\u200cشان " * 300
    for chunk in Chunker(count_tokens, size=60, overlap=10).split([text]):
        assert chunk.text.split(" ")[0] in ("نمی\u200cخواهم", "کتاب\u200cهای\u200cشان")
        assert chunk.text.split(" ")[-1] in ("نمی\u200cخواهم", "کتاب\u200cهای\u200cشان")


def test_sentences_stay_whole_where_they_fit(count_tokens: Count) -> None:
    text = " ".join(f"Sentence number {n} says something about the matter at hand." for n in range(100))
    for chunk in Chunker(count_tokens, size=80, overlap=0).split([text]):
        assert chunk.text.startswith("Sentence")
        assert chunk.text.endswith(".")


@pytest.mark.parametrize("text", ["", "   \n\n ", "\n" * 1000])
def test_nothing_makes_no_chunks(count_tokens: Count, text: str) -> None:
    assert Chunker(count_tokens, size=40, overlap=4).split([text, text]) == []


@pytest.mark.parametrize(("overlap", "most"), [(0, 0), (20, 20), (40, 40)])
def test_a_chunk_repeats_the_end_of_the_one_before(overlap: int, most: int) -> None:
    """K7: words of equal length, so that the overlap is to the word."""
    text = " ".join(f"w{n:04}" for n in range(1_000))
    chunks = Chunker(lambda piece: len(piece.split()), size=100, overlap=overlap).split([text])
    shared = [len(set(before.text.split()) & set(after.text.split())) for before, after in pairwise(chunks)]
    assert set(shared) == {most}


def test_a_chunk_knows_the_pages_it_spans(count_tokens: Count) -> None:
    (chunk,) = Chunker(count_tokens, size=400, overlap=40).split(["one", "", "three"])
    assert (chunk.page, chunk.page_to, chunk.text) == (1, 3, "one\f\fthree")
