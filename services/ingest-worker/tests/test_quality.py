"""The text of real files against their reference texts."""

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from docuchat_ingest.reading import pdf
from docuchat_ingest.reading.errors import Unreadable


def read(path: Path) -> list[str]:
    with pdf.open_document(str(path), 500) as document:
        return [page.text for page in document.pages()]


def similarity(left: str, right: str) -> float:
    """Normalized indel similarity, 2·LCS/(|a|+|b|), by the bit-parallel algorithm of Hyyrö (2004)."""
    if len(left) > len(right):
        left, right = right, left
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


def plain_words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).replace("ي", "ی").replace("ك", "ک").replace("\u200c", "").casefold()
    return re.findall(r"\w+", "".join(c for c in text if not unicodedata.combining(c)))


def test_german_book_is_as_its_reference(samples: Path) -> None:
    pages = read(samples / "geotopo-book-de.pdf")
    reference = (samples / "geotopo-book-de.reference.txt").read_text()
    assert len(pages) == 117
    assert similarity(without_layout("\n".join(pages)), without_layout(reference)) >= 0.95


def test_persian_guide_has_its_words(samples: Path) -> None:
    expected = Counter(persian_words((samples / "persian-guide.reference.md").read_text()))
    found = Counter(persian_words("\n".join(read(samples / "persian-guide-chromium.pdf"))))
    missing = expected - found
    assert 1 - missing.total() / expected.total() >= 0.99, missing


@pytest.mark.parametrize(
    "line",
    [
        "embedding و چت استفاده میکند.",
        "PostgreSQL با pgvector - ذخیره بردارها",
        "Redis - ذخیره کدهای احراز هویت و rate limiting",
        "2. اجرای سرویسها با Docker Compose",
        "3. از token در هدر Authorization: Bearer <token> استفاده میکند",
        "سرور در آدرس http://localhost:8000 اجرا میشود.",
        "1. کاربر ایمیل خود را ارسال میکند → کد 6 رقمی دریافت میکند",
        "curl -X POST http://localhost:8000/v1/auth/request-code \\",
        "چندمستاجری (Multi-tenancy)",
        "POST /v1/files - آپلود PDF (نیاز به احراز هویت)",
    ],
)
def test_mixed_lines_read_as_they_were_written(samples: Path, line: str) -> None:
    assert line in "\n".join(read(samples / "persian-guide-chromium.pdf")).split("\n")


@pytest.mark.parametrize("name", ["arabic-habibi.pdf", "arabic-habibi-rotated.pdf"])
def test_arabic_letters_are_in_order(samples: Path, name: str) -> None:
    for page in read(samples / name):
        assert page == "حَبيبي habibi حَبيبي"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("password-protected.pdf", "encrypted"), ("README.md", "not_a_pdf")],
)
def test_unreadable_files_say_why(samples: Path, name: str, reason: str) -> None:
    path = samples / name if name.endswith(".pdf") else samples.parent / name
    with pytest.raises(Unreadable) as raised:
        read(path)
    assert raised.value.code == reason


def test_a_page_of_pictures_has_no_text(samples: Path) -> None:
    assert not "".join(read(samples / "images-only.pdf"))


@pytest.mark.parametrize(
    "name",
    ["form.pdf", "google-doc.pdf", "latex-4-pages.pdf", "minimal.pdf", "multicolumn.pdf", "with-attachment.pdf"],
)
def test_every_readable_file_has_text(samples: Path, name: str) -> None:
    assert all(page.strip() for page in read(samples / name))


def place(text: str, right: float = 500.0, advance: float = 6.0) -> list[tuple[str, float]]:
    """Glyphs of a right-to-left word or line, drawn from the left as browsers do; half-spaces take no room."""
    glyphs, x = [], right
    for letter in text:
        if letter == "\u200c":
            glyphs.append((letter, x))
            continue
        x -= advance
        glyphs.append((letter, x))
    return glyphs[::-1]


@pytest.mark.parametrize("line", ["می\u200cخواهم کتاب\u200cها را", "خانه‌های سبز", "این است"])
def test_half_spaces_stay_where_they_were(tmp_path: Path, pdf_maker, line: str) -> None:
    path = tmp_path / "half-spaces.pdf"
    path.write_bytes(pdf_maker.glyphs([place(line)]))
    assert read(path) == [line]


def test_half_spaces_that_only_the_marks_tell_are_kept(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "tagged.pdf"
    path.write_bytes(pdf_maker.glyphs([place("می\u200cخواهم کتاب\u200cها را")], tagged="\u200c"))
    assert read(path) == ["می\u200cخواهم کتاب\u200cها را"]


def test_a_half_space_of_a_letter_s_glyph_stands_where_it_was(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "clusters.pdf"
    glyphs = ["د", "ز", "ا", "\u200cس", "ی", "م"]
    path.write_bytes(pdf_maker.glyphs([[(glyph, 300.0 + 6 * n) for n, glyph in enumerate(glyphs)]]))
    assert read(path) == ["می\u200cسازد"]


@pytest.mark.parametrize(
    "name",
    [
        "ar-notice-libreoffice",
        "ar-programming-word",
        "fa-masuleh-libreoffice",
        "fa-masuleh-xepersian-two-columns",
        "fa-policy-libreoffice",
        "fa-policy-xepersian",
        "he-notice-libreoffice",
    ],
)
def test_right_to_left_documents_have_their_words(shared_data: Path, name: str) -> None:
    path = shared_data / "documents" / f"{name}.pdf"
    reference = path.with_name(f"{path.name}.reference.txt").read_text()
    text = "\n".join(read(path))
    expected = Counter(plain_words(reference))
    missing = expected - Counter(plain_words(text))
    assert 1 - missing.total() / expected.total() >= 0.98, missing
    if "xepersian" not in name:  # in whose files nothing tells them
        assert text.count("\u200c") == reference.count("\u200c")


def test_shapes_of_letters_become_letters(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "shapes.pdf"
    path.write_bytes(pdf_maker.glyphs([place("\ufeb3\ufefc\ufee1")]))  # seen initial, lam-alef final, meem isolated
    assert read(path) == ["سلام"]


def test_astral_characters_survive(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "emoji.pdf"
    path.write_bytes(pdf_maker.glyphs([[("A", 100), ("😀", 106), ("B", 112)]]))
    assert read(path)[0].replace(" ", "") == "A😀B"


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("Schwarz\x02\r\nWeiß", "Schwarz-Weiß"),
        ("Ver\x02\r\ntrag", "Vertrag"),
        ("Ver\ufffetrag", "Vertrag"),
        ("o\ufb03ce \ufb01le", "office file"),
        ("a\u0308rger", "ärger"),
        ("a\x00b\x1fc\ud800", "abc"),
        ("می\u200cرود", "می\u200cرود"),
    ],
)
def test_text_is_stored_clean(raw: str, stored: str) -> None:
    assert pdf.tidy(raw) == stored
