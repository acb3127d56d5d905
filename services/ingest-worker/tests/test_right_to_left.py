"""Right-to-left pages, line by line, from glyphs that stand where a producer would put them."""

from pathlib import Path

import pytest

from docuchat_ingest.reading import pdf


def read(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pdf.open_document(str(path), 500) as document:
        return "\n".join(page.text for page in document.pages())


def drawn(*glyphs: str, right: float = 540.0, advance: float = 6.0) -> list[tuple[str, float]]:
    """Glyphs as they stand on the line, from left to right; each may stand for several letters."""
    return [(glyph, right - advance * (len(glyphs) - place)) for place, glyph in enumerate(glyphs)]


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


LINES = [
    ("نرخ 12% بود و -4% شد", "دش %4- و دوب %12 خرن"),
    ("تخفیف ۱۲٪ و -۴٪ است", "تسا ٪۴- و ٪۱۲ فیفخت"),
    ("12% تخفیف", "فیفخت 12%"),
    ("CPU 12% است", "تسا CPU 12%"),
    ("قیمت $15 یا 20€ است", "تسا €20 ای 15$ تمیق"),
    ("تاریخ 2026-01-15 ساعت 10:30", "10:30 تعاس 15-01-2026 خیرات"),
    ("سرور در http://localhost:8000/v1/files?a=1 است.", ".تسا http://localhost:8000/v1/files?a=1 رد رورس"),
    ("نشانی info@halden.example است (نسخه 2.4).", ".)2.4 هخسن( تسا info@halden.example یناشن"),
    (
        "برای Python 3.11+ اجرا کنید: pip install -r requirements.txt سپس ببندید.",
        ".دیدنبب سپس pip install -r requirements.txt :دینک ارجا +Python 3.11 یارب",
    ),
    ("متن [ب] و (مهم) و «نقل» است", "تسا »لقن« و )مهم( و ]ب[ نتم"),
    ("• مورد نخست (مهم)", ")مهم( تسخن دروم •"),
    ("4- عنوان", "ناونع -4"),
    ("1. کاربر (user) وارد شد", "دش دراو )user( ربراک .1"),
    ("תשלום של 12% עד 2026-01-15", "2026-01-15 דע 12% לש םולשת"),
    ("שער -4% היום", "םויה 4%- רעש"),
    ("1,250 ریال و 3.5 برابر", "ربارب 3.5 و لایر 1,250"),
    ("۱۲٬۵۰۰ ریال، ۱۰/۵/۱۴۰۳", "۱۰/۵/۱۴۰۳ ،لایر ۱۲٬۵۰۰"),
    ("Halden Desk برنامه است.", ".تسا همانرب Halden Desk"),
    ("کد A-4711 در POST /v1/files است", "تسا POST /v1/files رد A-4711 دک"),
    ("دما به +5 درجه رسید", "دیسر هجرد 5+ هب امد"),
]
"""A line as it is read, and its characters from left to right as rules W1 to L4 of UAX #9 lay them out."""


@pytest.mark.parametrize(("line", "laid_out"), LINES, ids=[line for line, _ in LINES])
def test_a_line_is_read_as_it_was_written(tmp_path: Path, pdf_maker, line: str, laid_out: str) -> None:
    beside = "این صفحه به زبان فارسی نوشته شده است"
    page = pdf_maker.glyphs([drawn(*beside[::-1]), drawn(*laid_out)])
    assert read(tmp_path / "a.pdf", page) == f"{beside}\n{line}"


def test_a_sentence_s_end_tells_where_its_line_begins(tmp_path: Path, pdf_maker) -> None:
    """Of two lines from margin to margin with more Latin letters than others, one stops at the left end."""
    page = pdf_maker.glyphs([drawn(*".تسا Halden Desk"), drawn(*"Halden Desk تسا.")])
    assert read(tmp_path / "a.pdf", page).split("\n") == ["Halden Desk است.", "Halden Desk است."]


def test_a_bullet_stands_apart_where_its_line_begins(tmp_path: Path, pdf_maker) -> None:
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([drawn(*"لوا دروم•")])) == "• مورد اول"


def test_bullets_that_were_drawn_last_go_to_their_lines(tmp_path: Path, pdf_maker) -> None:
    lines = [drawn(*"لوا دروم", right=520), drawn(*"مود دروم", right=520), drawn("•"), drawn("•")]
    page = pdf_maker.glyphs(lines, rows=[0, 1, 0, 1])
    assert read(tmp_path / "a.pdf", page) == "• مورد اول\n• مورد دوم"


def test_a_bullet_that_no_line_is_beside_stays(tmp_path: Path, pdf_maker) -> None:
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([drawn(*"دروم"), drawn("•")])) == "مورد\n•"


@pytest.mark.parametrize(
    ("laid_out", "line"),
    [
        (".تفر و »نم« )هخسن( »بوخ", "خوب» (نسخه) «من» و رفت."),
        ("هخسن( »بوخ« تفگ", "گفت «خوب» (نسخه"),
        ("»بوخ( تفگ", "گفت (خوب»"),
    ],
)
def test_a_bracket_whose_other_half_is_on_another_line(tmp_path: Path, pdf_maker, laid_out: str, line: str) -> None:
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([drawn(*laid_out)])) == line


@pytest.mark.parametrize("stroke", ["$", "C"])
def test_strokes_that_stretch_a_word_are_no_letters(tmp_path: Path, pdf_maker, stroke: str) -> None:
    page = pdf_maker.glyphs([drawn(*"نا", *(stroke * 3), *"نکراک"), drawn(*"دوش", " ", stroke, " ", *"نیا")])
    assert read(tmp_path / "a.pdf", page) == f"کارکنان\nاین {stroke} شود"


def test_a_space_without_room_is_none(tmp_path: Path, pdf_maker) -> None:
    glyphs = drawn(*"دوش یم")
    touching = [(letter, x + 6 if place < 3 else x) for place, (letter, x) in enumerate(glyphs)]
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([touching])) == "میشود"


def test_a_persian_page_has_persian_letters(tmp_path: Path, pdf_maker) -> None:
    persian, arabic = "كاركنان مرخصى می‌گيرند گزارش چاپ", "المكتبة فى مدينة پاريس ومدرسة كبيرة على الطريق"
    assert read(tmp_path / "a.pdf", pdf_maker.glyphs([drawn(*persian[::-1])])).startswith("کارکنان مرخصی")
    assert read(tmp_path / "b.pdf", pdf_maker.glyphs([drawn(*arabic[::-1])])) == arabic
