"""X4: what could not be read of a document is told, and a document of which nothing could is refused."""

import re
from pathlib import Path

import pytest

from docuchat_ingest.pipeline.judgement import judge
from docuchat_ingest.reading import pdf
from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.formats import PageText, Problem
from docuchat_ingest.reading.legibility import has_words, is_garbled

PROSE = "The contract may be ended by either side at the end of a month, three months in advance, and in writing. " * 4


def read(path: Path, content: bytes) -> list[PageText]:
    path.write_bytes(content)
    return pages_of(path)


def pages_of(path: Path) -> list[PageText]:
    with pdf.open_document(str(path), 500) as document:
        return list(document.pages())


def refusal(pages: list[PageText]) -> str:
    with pytest.raises(Unreadable) as raised:
        judge(pages)
    return raised.value.code


def test_scanned_pages_behind_a_cover_are_counted(tmp_path: Path, pdf_maker) -> None:
    pages = read(tmp_path / "a.pdf", pdf_maker.text("Annual report of the society, set as text")) + read(
        tmp_path / "b.pdf", pdf_maker.scanned("", "", "", "")
    )
    assert [page.problem for page in pages] == [None, *[Problem.PICTURE] * 4]
    assert judge(pages) == 4


def test_a_scanner_s_stamp_is_no_text(tmp_path: Path, pdf_maker) -> None:
    stamps = [f"Scanned with SomeScanner {page} of 30" for page in range(30)]
    pages = read(tmp_path / "a.pdf", pdf_maker.scanned(*stamps))
    assert refusal(pages) == "no_text_layer"


def test_a_picture_with_its_text_beside_it_is_read(tmp_path: Path, pdf_maker) -> None:
    pages = read(tmp_path / "a.pdf", pdf_maker.scanned(PROSE, PROSE))
    assert judge(pages) == 0


def test_one_recognized_line_is_all_there_is_to_read(tmp_path: Path, pdf_maker) -> None:
    assert judge(read(tmp_path / "a.pdf", pdf_maker.scanned("Private road", hidden=True))) == 0


def test_slides_on_pictures_with_few_words_each_are_warned_of_and_kept(tmp_path: Path, pdf_maker) -> None:
    titles = ["Where we stand after the first half", "What the customers told us", "Three things to do by autumn"]
    titles += ["Who takes care of the migration", "Open questions for the board"]
    assert judge(read(tmp_path / "a.pdf", pdf_maker.scanned(*titles))) == len(titles)


def test_letters_without_a_map_are_refused(tmp_path: Path, pdf_maker) -> None:
    lines = [[(letter, 60.0 + 6 * place) for place, letter in enumerate("These letters have no map")]]
    content = pdf_maker.glyphs(lines)
    assert judge(read(tmp_path / "a.pdf", content)) == 0
    pages = read(tmp_path / "b.pdf", content.replace(b"/ToUnicode 4 0 R", b"                "))
    assert [(page.text, page.problem) for page in pages] == [("", Problem.GARBLED)]
    assert refusal(pages) == "unreadable_text"


def test_letters_of_a_private_area_are_refused(tmp_path: Path, pdf_maker) -> None:
    line = [(chr(0xE000 + ord(letter)), 60.0 + 6 * place) for place, letter in enumerate("private letters")]
    assert refusal(read(tmp_path / "a.pdf", pdf_maker.glyphs([line]))) == "unreadable_text"


def test_one_garbled_page_is_told_and_dropped(tmp_path: Path, pdf_maker) -> None:
    pages = [PageText(PROSE), PageText("", Problem.GARBLED)]
    assert judge(pages) == 1


def test_letters_moved_along_the_alphabet_are_no_words() -> None:
    moved = "".join(chr(ord(letter) - 29) if letter.islower() else letter for letter in PROSE)
    assert not has_words(moved)
    assert refusal([PageText(moved)]) == "unreadable_text"


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        "Zpráva o plnění smlouvy: čtvrtletní přehled prodeje, zákazníků a závazků vůči třetím stranám. " * 4,
        "Wszczęcie postępowania następuje z chwilą doręczenia zawiadomienia stronom sporu przez sąd. " * 4,
        "Ohun tí a bá fi ọwọ́ mú, a kì í fi ẹsẹ̀ tẹ; ẹni tí ó bá mọ iṣẹ́ ni a ń pè. " * 4,
        "Hyvää päivää, tämä on pitkä asiakirja, jossa on monta sivua ja paljon tekstiä luettavaksi. " * 4,
        "این متن به زبان فارسی نوشته شده است و چند واژهٔ English دارد. " * 6,
        "本契約は、いずれの当事者も三か月前に書面で通知することにより終了できる。" * 6,
        "A-4711 B-0815 C-1234 " * 8,
        "",
    ],
)
def test_any_language_has_words(text: str) -> None:
    assert has_words(text)
    assert not is_garbled(text)


def test_the_project_s_own_documents_are_read_without_a_word(documents: Path) -> None:
    for path in sorted(documents.glob("*.pdf")):
        if path.name.startswith("scan"):
            assert refusal(pages_of(path)) == "no_text_layer"
        else:
            assert judge(pages_of(path)) == 0, path.name


def test_real_files_are_not_taken_for_garbage(shared_data: Path) -> None:
    unread = {}
    for path in sorted([*(shared_data / "pdf").glob("*.pdf"), *(shared_data / "documents").glob("*.pdf")]):
        try:
            unread[path.name] = judge(pages_of(path))
        except Unreadable as reason:
            unread[path.name] = reason.code
    wrong = {
        name: found
        for name, found in unread.items()
        if found not in (0, "encrypted") and not re.search("scan|images-only|ocr", name)
    }
    assert not wrong
    assert unread["images-only.pdf"] == "no_text_layer"
