"""Right-to-left pages, line by line, from glyphs that stand where a producer would put them."""

from pathlib import Path

import pytest

from docuchat_ingest.reading import pdf


def read(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pdf.open_document(str(path), 500) as document:
        return "\n".join(page.text for page in document.pages())


def drawn(*glyphs: str, left: float = 300.0, advance: float = 6.0) -> list[tuple[str, float]]:
    """Glyphs as they stand on the line, from left to right; each may stand for several letters."""
    return [(glyph, left + advance * place) for place, glyph in enumerate(glyphs)]


@pytest.mark.parametrize("backwards", [False, True], ids=["drawn from the left", "drawn from the right"])
@pytest.mark.parametrize(
    ("ligature", "letters"),
    [("لله", "لله"), ("هلل", "لله"), ("لا", "لا"), ("ال", "لا"), ("ريال", "ريال"), ("\ufdf2", "الله"), ("مح", "مح")],
)
def test_a_glyph_for_several_letters_is_one_cluster(
    tmp_path: Path, pdf_maker, ligature: str, letters: str, backwards: bool
) -> None:
    line = drawn(*"۱۴۰۳", " ", ligature, *"ادبع")
    if backwards:
        line.reverse()
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([line])) == f"عبدا{letters} ۱۴۰۳"


def test_numbers_stay_in_order_beside_a_ligature(tmp_path: Path, pdf_maker) -> None:
    page = pdf_maker.glyphs([drawn(*"لایر ۱۲٬۵۰۰ ", "لله", *"ادبع ۱۴۰۳ ", *"لاس")])
    assert read(tmp_path / "a.pdf", page) == "سال ۱۴۰۳ عبدالله ۱۲٬۵۰۰ ریال"
