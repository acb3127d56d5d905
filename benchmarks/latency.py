"""P2: how long after an upload an idle product has a small document ready."""

from __future__ import annotations

import asyncio
import io
import time

import aiohttp
from harness import BOOK, Bench, delete, distinct, percentile, ready, upload
from pypdf import PdfReader, PdfWriter


def run(bench: Bench) -> None:
    repeats = 5 if bench.quick else 30
    bench.start()
    asyncio.run(_measure(bench, _pages(20, 22), 2))  # warm
    two = asyncio.run(_measure(bench, _pages(20, 22), repeats))
    ten = asyncio.run(_measure(bench, _pages(20, 30), repeats))
    whole = [seconds for seconds, _ in two]
    after = [seconds for _, seconds in ten]
    worst = max(whole)
    add = bench.report.add
    add("P2", f"2 pages, upload to ready, slowest of {repeats}", f"{worst * 1000:.0f} ms", "<= 1,000 ms", worst <= 1)
    add("P2", "2 pages, upload to ready, p50", f"{percentile(whole, 0.5) * 1000:.0f} ms")
    p95 = percentile(after, 0.95)
    add("P2", f"10 pages, 202 to ready, p95 of {repeats}", f"{p95 * 1000:.0f} ms", "<= 500 ms", p95 <= 0.5)
    add("P2", "10 pages, 202 to ready, p50", f"{percentile(after, 0.5) * 1000:.0f} ms")


def _pages(start: int, end: int) -> bytes:
    """So many pages of the book as a PDF of their own."""
    writer = PdfWriter()
    for page in PdfReader(BOOK).pages[start:end]:
        writer.add_page(page)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


async def _measure(bench: Bench, pdf: bytes, repeats: int) -> list[tuple[float, float]]:
    """(seconds from the upload's start, seconds from the 202) to ready, asked for every 5 ms."""
    found = []
    async with aiohttp.ClientSession() as session:
        for number in range(repeats):
            content = distinct(pdf, str(number))
            started = time.perf_counter()
            entry = await upload(session, bench, content, "small.pdf")
            accepted = time.perf_counter()
            await ready(session, bench, entry["id"], 0.005)
            ended = time.perf_counter()
            found.append((ended - started, ended - accepted))
            await delete(session, bench, entry["id"])
            await asyncio.sleep(0.2)  # idle again
    return found
