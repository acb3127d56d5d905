"""Files made to hurt: each ends with a reason, in time, in bounded memory, and the next document is read as if
nothing was.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.process.pool import ParserLimits, ParserPool
from docuchat_testkit.eventually import eventually

ANY = frozenset(
    {"damaged", "no_text_layer", "parser_crashed", "parser_timeout", "parser_out_of_memory", "too_much_text"}
)

Maker = Callable[..., bytes]


def nested_flate_bomb(make) -> bytes:
    return make.pages([make.deflated(b" " * 200_000_000, times=3)])


def wide_flate_bomb(make) -> bytes:
    return make.pages([make.deflated(b"BT /F1 12 Tf (A) Tj ET " * 8_000_000)])


def text_bomb(make) -> bytes:
    lines = b"1 0 0 1 72 %d Tm (AAAA AAAA AAAA AAAA AAAA AAAA) Tj\n" * 8
    content = make.deflated(
        b"BT /F1 12 Tf\n" + b"".join(lines.replace(b"%d", b"%d" % (y % 800)) for y in range(4_000)) + b"ET"
    )
    return make.pages([content] * 15)


def hundred_thousand_pages(make) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 100000/Kids[%b]>>" % (b"3 0 R " * 100_000),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    ]
    return make.write(objects)


def page_tree_cycle(make) -> bytes:
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 3/Kids[2 0 R 2 0 R 2 0 R]/Parent 2 0 R>>"]
    return make.write(objects)


def deep_page_tree(make) -> bytes:
    depth = 50_000
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    objects += [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (n + 3) for n in range(depth)]
    objects.append(b"<</Type/Page/MediaBox[0 0 9 9]>>")
    return make.write(objects)


def reference_loop(make) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox 4 0 R/Contents 6 0 R/Resources 5 0 R>>",
        b"5 0 R",
        b"4 0 R",
        b"<</Length 6 0 R/Filter 4 0 R>>\nstream\nBT ET\nendstream",
    ]
    return make.write(objects)


def form_recursion(make) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        make.stream(b"/X Do " * 1000),
        make.stream(
            b"/X Do /X Do /X Do",
            b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>>>",
        ),
    ]
    return make.write(objects)


def billion_laughs_forms(make) -> bytes:
    levels = 12
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        make.stream(b"/X Do"),
    ]
    objects += [
        make.stream(
            b"/X Do " * 20 if level < levels - 1 else b"0 0 1 1 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>" % (6 + level),
        )
        for level in range(levels)
    ]
    return make.write(objects)


def deep_array(make) -> bytes:
    return make.write([b"<</Type/Catalog/Pages 2 0 R/X %b>>" % (b"[" * 3_000_000), b"<</Type/Pages/Count 0/Kids[]>>"])


def prev_loop(make) -> bytes:
    return make.write([b"<</Type/Catalog>>"], trailer=b"/Prev 9").replace(b"startxref\n", b"startxref\n0")


def truncated(make) -> bytes:
    return make.text("Hello, this file is cut.")[:120]


def only_header(make) -> bytes:
    return b"%PDF-1.7\n"


def random_bytes(make) -> bytes:
    return b"%PDF-1.7\n" + bytes((n * 7919 + n // 251) % 256 for n in range(2_000_000))


def javascript_without_text(make) -> bytes:
    return make.pages(
        [make.stream(b"q Q")],
        extra=b"/OpenAction<</S/JavaScript/JS(while(true){app.alert(1)})>>/AA<</WC<</S/Launch/F(/bin/sh)>>>>",
    )


def polyglot_zip(make) -> bytes:
    return b"PK\x03\x04" + b"\x00" * 2000 + make.text("behind a zip header")


def no_bytes(make) -> bytes:
    return b""


def a_program(make) -> bytes:
    return b"MZ\x90\x00" + b"\x00" * 4096


def a_web_page(make) -> bytes:
    return b"<html><script>%PDF</script></html>"


EXPECTED: dict[Maker, frozenset[str]] = {
    nested_flate_bomb: ANY,
    wide_flate_bomb: ANY,
    text_bomb: ANY | {"ready"},
    hundred_thousand_pages: frozenset({"too_many_pages"}),
    page_tree_cycle: ANY,
    deep_page_tree: ANY,
    reference_loop: ANY,
    form_recursion: ANY,
    billion_laughs_forms: ANY,
    deep_array: ANY,
    prev_loop: ANY,
    truncated: ANY,
    only_header: frozenset({"damaged"}),
    random_bytes: frozenset({"damaged"}),
    javascript_without_text: frozenset({"no_text_layer"}),
    polyglot_zip: frozenset({"not_a_pdf"}),
    no_bytes: frozenset({"empty"}),
    a_program: frozenset({"not_a_pdf"}),
    a_web_page: frozenset({"not_a_pdf"}),
}


async def outcome(pool: ParserPool, path: Path) -> tuple[str, str]:
    """The reason, and the text when there is one."""
    texts: list[str] = []
    try:
        async for window in pool.read(path, "application/pdf"):
            texts.extend(page.text for page in window.pages)
    except Unreadable as reason:
        return reason.code, ""
    text = "".join(texts)
    return ("ready" if any(map(str.isalnum, text)) else "no_text_layer"), text


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: make.__name__)
async def test_a_hostile_file_fails_with_a_reason(tmp_path: Path, pdf_maker, make: Maker) -> None:
    hostile, friendly = tmp_path / "hostile.pdf", tmp_path / "friendly.pdf"
    hostile.write_bytes(make(pdf_maker))
    friendly.write_bytes(pdf_maker.text("All is well."))
    async with ParserPool(1, ParserLimits()) as pool:
        started = time.monotonic()
        code, _ = await outcome(pool, hostile)
        assert time.monotonic() - started <= 30
        assert code in EXPECTED[make]
        assert pool.peak_megabytes <= 512
        assert await outcome(pool, friendly) == ("ready", "All is well.")


@pytest.mark.parametrize(
    ("box", "ends"),
    [
        (b"[0 0 1e30 1e30]", ("ready", "Text")),
        (b"[-2147483648 -2147483648 2147483647 2147483647]", ("ready", "Text")),
        (b"[0 0 0 0]", ("ready", "Text")),
        (b"[]", ("ready", "Text")),
    ],
)
async def test_a_strange_page_size_is_no_harm(
    tmp_path: Path, pdf_maker, parser_pool: ParserPool, box: bytes, ends: tuple[str, str]
) -> None:
    path = tmp_path / "box.pdf"
    path.write_bytes(pdf_maker.pages([pdf_maker.stream(b"BT /F1 12 Tf 72 720 Td (Text) Tj ET")], media_box=box))
    assert await outcome(parser_pool, path) == ends


async def test_javascript_and_attachments_are_only_text(tmp_path: Path, pdf_maker, parser_pool: ParserPool) -> None:
    path = tmp_path / "active.pdf"
    content = pdf_maker.stream(b"BT /F1 12 Tf 72 720 Td (Readable) Tj ET")
    path.write_bytes(pdf_maker.pages([content], extra=b"/OpenAction<</S/JavaScript/JS(app.alert(1))>>"))
    assert await outcome(parser_pool, path) == ("ready", "Readable")


async def test_a_parser_that_is_killed_is_a_crash_and_is_replaced(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "friendly.pdf"
    path.write_bytes(pdf_maker.text("All is well."))
    async with ParserPool(1, ParserLimits()) as pool:
        assert await outcome(pool, path) == ("ready", "All is well.")
        for parser in list(pool._alive):
            parser._process.kill()
            await parser._process.wait()
        assert await outcome(pool, path) == ("ready", "All is well.")


async def test_a_slow_file_times_out(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "slow.pdf"
    path.write_bytes(wide_flate_bomb(pdf_maker))
    async with ParserPool(1, ParserLimits(cpu_seconds=0.1, wall_seconds=10)) as pool:
        assert (await outcome(pool, path))[0] == "parser_timeout"


async def test_a_parser_is_replaced_after_its_share_of_documents(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "friendly.pdf"
    path.write_bytes(pdf_maker.text("All is well."))
    async with ParserPool(1, ParserLimits(documents_per_process=2)) as pool:
        processes = set()
        for _ in range(5):
            assert (await outcome(pool, path))[0] == "ready"
            await pool._starting
            processes |= {parser._process.pid for parser in pool._alive}
        assert len(processes) == 3


async def test_a_parser_knows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with ParserPool(1, ParserLimits()) as pool:
        await pool._starting
        (parser,) = pool._alive
        environment = await asyncio.to_thread(Path(f"/proc/{parser._process.pid}/environ").read_bytes)
        assert b"LANG" in environment
        assert b"sk-secret" not in environment


async def test_stopping_early_leaves_no_process(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "slow.pdf"
    path.write_bytes(wide_flate_bomb(pdf_maker))
    async with ParserPool(1, ParserLimits()) as pool:
        reading = pool.read(path, "application/pdf")
        waiting = asyncio.create_task(anext(reading))
        await eventually(lambda: any(parser.busy for parser in pool._alive))
        pids = [parser._process.pid for parser in pool._alive]
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not any(parser._process.pid in pids for parser in pool._alive)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_more_pages_than_allowed(tmp_path: Path, pdf_maker) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(pdf_maker.text(*["page"] * 4))
    async with ParserPool(1, ParserLimits(max_pages=3)) as pool:
        assert (await outcome(pool, path))[0] == "too_many_pages"


async def test_progress_comes_page_by_page(samples: Path, parser_pool: ParserPool) -> None:
    done = []
    async for window in parser_pool.read(samples / "geotopo-book-de.pdf", "application/pdf"):
        assert window.page_count == 117
        done.append(len(window.pages))
    assert sum(done) == 117
    assert len(done) > 1
