"""Real PDF files of many producers, with the embedded models: each becomes ready, or fails with its reason."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product, User, small_pdf

_UNREADABLE = {"images-only.pdf": "no_text_layer", "password-protected.pdf": "encrypted"}
_PAGES = {"geotopo-book-de.pdf": 117, "latex-4-pages.pdf": 4, "minimal.pdf": 1}


@dataclass(frozen=True)
class Library:
    """All sample files of one tenant."""

    user: User
    documents: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def library_tenant(running_embedded_product: Product) -> int:
    return running_embedded_product.create_tenant("library")


@pytest.fixture
async def reader(embedded_product: Product, library_tenant: int) -> AsyncIterator[User]:
    """The one who has uploaded every file; uploading the same content again gives the same document."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(embedded_product.user(library_tenant, "reader@example.com"))


@pytest.fixture
def sample_files(samples: Path) -> list[Path]:
    return sorted(samples.glob("*.pdf"))


@pytest.fixture
async def library(reader: User, sample_files: list[Path]) -> Library:
    sent = {path.name: await reader.upload(path) for path in sample_files}
    return Library(reader, {name: await reader.settled(document["id"]) for name, document in sent.items()})


def similarity(left: str, right: str) -> float:
    """Normalized indel similarity, 2·LCS/(|a|+|b|), by the bit-parallel algorithm of Hyyrö (2004)."""
    masks: dict[str, int] = {}
    for place, character in enumerate(left):
        masks[character] = masks.get(character, 0) | (1 << place)
    everything = (1 << len(left)) - 1
    state = everything
    for character in right:
        if mask := masks.get(character):
            matched = state & mask
            state = ((state + matched) | (state - matched)) & everything
    return 2 * (len(left) - state.bit_count()) / (len(left) + len(right))


def without_layout(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def persian_words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).replace("ي", "ی").replace("ك", "ک").replace("\u200c", "")
    return re.findall("[\u0621-\u06ff]+", "".join(c for c in text if not unicodedata.combining(c)))


async def test_every_file_is_ready_or_says_why_not(library: Library) -> None:
    assert len(library.documents) >= 12
    for name, document in library.documents.items():
        if name in _UNREADABLE:
            assert (document["status"], document["error"]["code"]) == ("failed", _UNREADABLE[name]), document
            assert len(document["error"]["detail"]) > 10
            assert document["chunks"] == 0
        else:
            assert (document["status"], document["error"]) == ("ready", None), document
            assert document["pages"] == document["pages_done"] >= 1
            assert document["chunks"] >= 1
            assert document["pages"] == _PAGES.get(name, document["pages"])


async def test_what_is_no_pdf_is_refused_with_its_reason(embedded_product: Product, reader: User) -> None:
    files = {"file": ("report.pdf", b"PK\x03\x04 this is no PDF", "application/pdf")}
    response = await reader.http.post("/v1/files", files=files)
    assert response.status_code == 415
    assert response.headers["content-type"].startswith("application/problem+json")
    broken = await reader.settled((await reader.upload(b"%PDF-1.7\nnothing else\n%%EOF"))["id"])
    assert broken["status"] == "failed"
    assert broken["error"]["code"] in {"not_a_pdf", "damaged"}


async def test_the_persian_guide_keeps_its_words(embedded_product: Product, library: Library, samples: Path) -> None:
    stored = await embedded_product.stored_text(library.documents["persian-guide-chromium.pdf"]["id"])
    expected = Counter(persian_words((samples / "persian-guide.reference.md").read_text()))
    missing = expected - Counter(persian_words(stored))
    assert 1 - missing.total() / expected.total() >= 0.99, missing


async def test_the_german_book_is_as_its_reference(embedded_product: Product, library: Library, samples: Path) -> None:
    stored = await embedded_product.stored_text(library.documents["geotopo-book-de.pdf"]["id"])
    reference = (samples / "geotopo-book-de.reference.txt").read_text()
    assert similarity(without_layout(stored), without_layout(reference)) >= 0.95


@pytest.mark.parametrize(
    "variants",
    [
        ("فایلها", "فایل\u200cها"),
        ("احراز هویت کاربر", "احراز هويت كاربر"),
        ("سرویسها", "سرويسها", "سرویس\u200cها"),
        ("کلید API", "كليد API"),
        ("پیشفرض ۵۰", "پیش\u200cفرض 50"),
    ],
)
async def test_spellings_of_one_word_find_the_same_chunk(library: Library, variants: tuple[str, ...]) -> None:
    guide = library.documents["persian-guide-chromium.pdf"]["id"]
    found = [await library.user.search(variant, document_id=guide, limit=3) for variant in variants]
    assert found[0][0]["text_rank"] is not None
    assert len({results[0]["chunk_id"] for results in found}) == 1, [[r["chunk_id"] for r in f] for f in found]


async def test_arabic_and_persian_letters_of_one_book_find_it(embedded_product: Product) -> None:
    """Whichever letter was stored, every spelling of the question finds it."""
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        stored = {}
        for spelling in ("كتاب", "کتاب"):
            document = await user.ready(pdf_of(f"{spelling} روی میز است"), title=spelling)
            stored[document["id"]] = spelling
        for question in ("كتاب", "کتاب"):
            results = await user.search(question)
            assert {result["document_id"] for result in results if result["text_rank"]} == set(stored)


async def test_an_embedded_answer_quotes_the_book_and_says_what_it_is(library: Library) -> None:
    book = library.documents["geotopo-book-de.pdf"]["id"]
    frames = await library.user.ask("Was ist ein metrischer Raum?", document_ids=[book])
    end = frames[-1]
    assert end["type"] == "end"
    assert end["citations"]
    assert {citation["document_id"] for citation in end["citations"]} == {book}
    assert all(1 <= citation["page"] <= 117 for citation in end["citations"])


async def test_a_question_before_anything_is_ready_says_so(embedded_product: Product) -> None:
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        frames = await user.ask("What does the contract say?")
        assert frames[-1]["type"] == "end"
        assert frames[-1]["citations"] == []
        document = await user.ready(small_pdf(("The contract ends in May.",)))
        assert (await user.ask("When does the contract end?"))[-1]["citations"][0]["document_id"] == document["id"]
