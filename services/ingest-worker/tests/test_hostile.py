"""Files made to hurt: each ends with a reason, in time, in bounded memory, and the next document is read as if
nothing was.
"""

import asyncio
import os
import time
from pathlib import Path

import pytest

from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.process.pool import ParserLimits, ParserPool
from docuchat_testkit.eventually import eventually

from .hostile import EXPECTED, Maker, wide_flate_bomb


def test_s7_has_its_thirty_kinds() -> None:
    assert len(EXPECTED) >= 30


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


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: f"S7-{make.__name__}")
async def test_a_hostile_file_fails_with_a_reason(tmp_path: Path, pdf_maker, make: Maker) -> None:
    """S7."""
    hostile, friendly = tmp_path / "hostile.pdf", tmp_path / "friendly.pdf"
    hostile.write_bytes(make(pdf_maker))
    friendly.write_bytes(pdf_maker.text("All is well."))
    async with ParserPool(1, ParserLimits()) as pool:
        await pool._starting
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


async def test_a_parser_has_no_privilege_and_gains_none(tmp_path: Path, pdf_maker) -> None:
    """T6."""
    path = tmp_path / "friendly.pdf"
    path.write_bytes(pdf_maker.text("All is well."))
    async with ParserPool(1, ParserLimits()) as pool:
        assert await outcome(pool, path) == ("ready", "All is well.")
        (parser,) = pool._alive
        status = await asyncio.to_thread(Path(f"/proc/{parser._process.pid}/status").read_text)
    told = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert [told[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [""] * 4
    assert told["NoNewPrivs"] == "1"


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
