"""What a PDF says beside its text is found by pypdf, and never costs the document."""

import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfWriter
from pypdf.constants import PageLabelStyle
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject

from docuchat_ingest.chunking.chunker import Chunker
from docuchat_ingest.pipeline.domain import Job
from docuchat_ingest.pipeline.spending import Spending
from docuchat_ingest.reading import pdf
from docuchat_ingest.reading.formats import Facts, Heading
from docuchat_ingest.reading.outline import _Alarm, _TooSlow, read_facts
from docuchat_ingest.reading.process.pool import ParserPool, _facts

from .conftest import PdfMaker


def written(folder: Path, writer: PdfWriter) -> Path:
    path = folder / "document.pdf"
    writer.write(path)
    return path


def blank(pages: int) -> PdfWriter:
    writer = PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(200, 200)
    return writer


def with_field(writer: PdfWriter, name: str, value: str, *, flags: int = 0) -> None:
    widget = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Annot"),
            NameObject("/Subtype"): NameObject("/Widget"),
            NameObject("/FT"): NameObject("/Tx"),
            NameObject("/Ff"): NumberObject(flags),
            NameObject("/T"): TextStringObject(name),
            NameObject("/V"): TextStringObject(value),
            NameObject("/Rect"): ArrayObject(map(NumberObject, (10, 10, 90, 30))),
        }
    )
    page = writer.pages[-1]
    reference = writer._add_object(widget)
    page[NameObject("/Annots")] = ArrayObject([*page.get("/Annots", ()), reference])
    form = DictionaryObject({NameObject("/Fields"): ArrayObject([reference])})
    writer.root_object[NameObject("/AcroForm")] = form


def test_what_a_document_says_of_itself_is_found(tmp_path: Path) -> None:
    writer = blank(4)
    writer.add_metadata({"/Title": "قرارداد\x00 سالانه", "/Author": "Ann"})
    writer.set_page_label(0, 1, style=PageLabelStyle.LOWERCASE_ROMAN)
    writer.set_page_label(2, 3, style=PageLabelStyle.DECIMAL, start=1)
    part = writer.add_outline_item(title="Part one", page_number=1)
    writer.add_outline_item(title="Chapter\n two", page_number=2, parent=part)
    writer.add_attachment("figures.csv", b"1,2")
    assert read_facts(str(written(tmp_path, writer)), 4).facts == Facts(
        title="قرارداد سالانه",
        author="Ann",
        labels=("i", "ii", "1", "2"),
        headings=(Heading(2, ("Part one",)), Heading(3, ("Part one", "Chapter two"))),
        attachments=("figures.csv",),
    )


def test_plain_page_numbers_are_no_labels(tmp_path: Path) -> None:
    writer = blank(3)
    writer.set_page_label(0, 2, style=PageLabelStyle.DECIMAL, start=1)
    assert read_facts(str(written(tmp_path, writer)), 3).facts.labels == ()


def test_headings_lead_to_named_places_too(tmp_path: Path) -> None:
    writer = blank(3)
    for number in range(3):
        writer.add_named_destination(f"place.{number}", number)
    item: Any = writer.add_outline_item(title="Third", page_number=0).get_object()
    for key in ("/A", "/Dest"):
        item.pop(key, None)
    item[NameObject("/Dest")] = TextStringObject("place.2")
    assert read_facts(str(written(tmp_path, writer)), 3).facts.headings == (Heading(3, ("Third",)),)


async def test_form_values_are_text_of_their_page(tmp_path: Path, parser_pool: ParserPool) -> None:
    writer = blank(2)
    with_field(writer, "Applicant", "Maria Sánchez")
    with_field(writer, "PIN", "4711", flags=1 << 13)
    windows = [window async for window in parser_pool.read(written(tmp_path, writer), "application/pdf")]
    assert [page.text for window in windows for page in window.pages] == ["", "Applicant: Maria Sánchez"]


async def test_the_parser_hands_on_what_was_found(tmp_path: Path, parser_pool: ParserPool) -> None:
    writer = blank(2)
    writer.add_metadata({"/Title": "Report"})
    writer.add_outline_item(title="Start", page_number=1)
    windows = [window async for window in parser_pool.read(written(tmp_path, writer), "application/pdf")]
    assert windows[-1].facts == Facts(title="Report", headings=(Heading(2, ("Start",)),))


def test_an_outline_in_a_circle_ends(tmp_path: Path) -> None:
    writer = blank(1)
    first = writer.add_outline_item(title="First", page_number=0)
    second: Any = writer.add_outline_item(title="Second", page_number=0).get_object()
    second[NameObject("/Next")] = second[NameObject("/First")] = first
    headings = read_facts(str(written(tmp_path, writer)), 1).facts.headings
    assert [heading.path[-1] for heading in headings] == ["First", "Second"]


# an alarm that rings in a finalizer or a callback of the collector is only told there; it rings again
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_reading_ends_when_its_time_is_spent(tmp_path: Path) -> None:
    writer = blank(400)
    for number in range(2_000):
        writer.add_outline_item(title=f"Heading {number}", page_number=number % 400)
    path, memory = str(written(tmp_path, writer)), resource.getrlimit(resource.RLIMIT_AS)
    for seconds in (0.001, 0.002, 0.004, 0.008):
        assert not read_facts(path, 400, seconds=seconds).facts.complete
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert resource.getrlimit(resource.RLIMIT_AS) == memory


def test_an_alarm_that_comes_late_ends_nothing() -> None:
    alarm = _Alarm()
    alarm.ring(signal.SIGPROF, None)
    alarm.is_set = True
    with pytest.raises(_TooSlow):
        alarm.ring(signal.SIGPROF, None)


def test_what_pypdf_trips_over_leaves_the_text(tmp_path: Path, pdf_maker: PdfMaker) -> None:
    path = tmp_path / "document.pdf"
    content = pdf_maker.text("The text stays.").replace(
        b"/Type/Catalog", b"/Type/Catalog/Names<</EmbeddedFiles<</Names 7>>>>"
    )
    path.write_bytes(content)
    with pdf.open_document(str(path), 10) as document:
        assert not document.facts.complete
        assert [page.text for page in document.pages()] == ["The text stays."]


def test_facts_that_a_table_cannot_hold_are_mended_and_odd_ones_dropped() -> None:
    told = {"title": "a\0b\ud800", "author": "", "labels": ["i", "x"], "attachments": [], "complete": True}
    headings = [{"page": 9, "path": ["beyond the end"]}, {"page": 1, "path": ["Start"]}]
    assert _facts(told | {"headings": headings}, 1) == Facts(
        title="ab?", labels=("i",), headings=(Heading(1, ("Start",)),)
    )
    assert _facts(told | {"headings": 7}, 1) == Facts(complete=False)


def test_what_pypdf_cannot_read_is_told() -> None:
    found = read_facts("/dev/null", 1)
    assert found.facts == Facts(complete=False)


def test_warnings_and_info_name_only_what_there_is() -> None:
    job = Job(claim=None, spending=Spending.__new__(Spending))  # type: ignore[arg-type]  # neither is asked for anything
    assert (job.warnings, job.info) == ((), {})
    job.facts = Facts(title="Report", attachments=("a.csv",), complete=False)
    assert job.warnings == ("attachments_not_read", "outline_not_read")
    assert job.info == {"title": "Report", "attachments": ("a.csv",)}


def test_a_chunk_has_the_heading_under_which_it_begins() -> None:
    pages = ["A preface of a few words.", "It goes on here.\nThe Law\nEvery contract binds.", "And its end is here."]
    headings = [Heading(2, ("Part", "The  law")), Heading(3, ("Not in the text",))]
    chunks = Chunker(lambda text: len(text.split()), size=6, overlap=0).split(pages, headings)
    text = "\f".join(pages)
    law, last = text.index("The Law"), text.index("And its end")
    assert len(chunks) > 3
    for chunk in chunks:
        under = None if chunk.char_start < law else "Part › The  law" if chunk.char_start < last else "Not in the text"
        assert chunk.heading == under
