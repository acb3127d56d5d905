"""P1: CPU seconds and pages a second from upload to searchable, beside a bare script and LangChain on the same PDFs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
from harness import (
    BOOK,
    HERE,
    ROOT,
    Bench,
    cpu_seconds,
    delete,
    difference,
    distinct,
    product_cpu,
    product_pids,
    ready,
    say,
    upload,
)

from docuchat_testkit.vocabulary import tiktoken_cache_dir

PEER = ROOT / ".local" / "bench-peer"
LOCK = HERE / "peer-requirements.lock"
CHUNK_TOKENS, OVERLAP = 400, 40


def run(bench: Bench) -> None:
    copies = 3 if bench.quick else 16
    python = _peer_python()
    product = bench.product
    asyncio.run(_ingest(bench, copies=1))  # the worker's first document loads its models
    cpu, pages, seconds = asyncio.run(_ingest(bench, copies))
    bare = asyncio.run(_script(bench, python, "ingest_bare.py", copies))
    peer = asyncio.run(_script(bench, python, "ingest_peer.py", max(1, copies // 8)))
    again = asyncio.run(_ingest(bench, copies))  # before and after the others, so that a passing load shows
    pages, seconds = pages + again[1], seconds + again[2]
    cpu = {name: value + again[0][name] for name, value in cpu.items()}

    worker, postgres = cpu["ingest-worker"] / pages, cpu["postgres"] / pages
    everything = sum(cpu.values()) / pages
    bare_worker, bare_all = bare["cpu"] / bare["pages"], (bare["cpu"] + bare["postgres"]) / bare["pages"]
    add = bench.report.add
    add("P1", "CPU ms/page: ingest-worker with its children", f"{1000 * worker:.2f}")
    add("P1", "CPU ms/page: the bare script's process", f"{1000 * bare_worker:.2f}")
    ratio = bare_worker / worker
    add("P1", "bare / worker, by CPU a page", f"{ratio:.2f}", ">= 1.0", ratio >= 1.0)
    add("P1", "the same with PostgreSQL's CPU on both sides", f"{bare_all / (worker + postgres):.2f}")
    add(
        "P1",
        "CPU ms/page: PostgreSQL, product / bare",
        f"{1000 * postgres:.2f} / {1000 * bare['postgres'] / bare['pages']:.2f}",
    )
    add("P1", "CPU ms/page: whole product with its servers", f"{1000 * everything:.2f}")
    add(
        "P1",
        "CPU ms/page: LangChain's process with PostgreSQL",
        f"{1000 * (peer['cpu'] + peer['postgres']) / peer['pages']:.1f}",
    )
    rate, peer_rate = pages / seconds, peer["pages"] / peer["seconds"]
    add("P1", "pages/s: product, upload to searchable", f"{rate:.0f}")
    add("P1", "pages/s: bare script, one process", f"{bare['pages'] / bare['seconds']:.0f}")
    add("P1", "pages/s: PyPDFLoader + splitter + PGVector", f"{peer_rate:.1f}")
    add("P1", "product / LangChain, by pages a second", f"{rate / peer_rate:.1f}", ">= 12", rate / peer_rate >= 12)
    assert product_pids(product)


async def _ingest(bench: Bench, copies: int) -> tuple[dict[str, float], int, float]:
    """(CPU seconds by process, pages, seconds) of so many copies of the book, uploaded at once."""
    book = BOOK.read_bytes()
    product = bench.product
    before = product_cpu(product)
    started = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        accepted = await asyncio.gather(
            *(upload(session, bench, distinct(book, str(n)), f"book-{n}.pdf") for n in range(copies))
        )
        # asked rarely: to answer costs the product too
        pages = sum([(await ready(session, bench, entry["id"], 0.05))["pages"] for entry in accepted])
        seconds = time.perf_counter() - started
        await asyncio.sleep(0.3)  # what follows the commit: events and their booking
        used = difference(product_cpu(product), before)
        for entry in accepted:
            await delete(session, bench, entry["id"])
    return used, pages, seconds


async def _script(bench: Bench, python: Path, name: str, copies: int) -> dict[str, float]:
    """Run a script of the peer environment against an empty database on the product's own PostgreSQL."""
    product = bench.product
    database = name.removesuffix(".py")
    admin = await asyncpg.connect(product.postgres_admin_url)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")  # a name of this file's own
        await admin.execute(f"CREATE DATABASE {database}")
    finally:
        await admin.close()
    url = urlunsplit(urlsplit(product.postgres_admin_url)._replace(path=f"/{database}"))
    book = BOOK.read_bytes()
    with tempfile.TemporaryDirectory(prefix="docuchat-bench-") as folder:
        files = [Path(folder) / f"book-{n}.pdf" for n in range(copies)]
        for n, path in enumerate(files):
            path.write_bytes(distinct(book, str(n)))
        postgres = product_pids(product)["postgres"]
        before = cpu_seconds(postgres)
        process = await asyncio.create_subprocess_exec(
            str(python), "-I", str(HERE / name), url, str(CHUNK_TOKENS), str(OVERLAP), *map(str, files),
            stdout=subprocess.PIPE,
            env={"TIKTOKEN_CACHE_DIR": str(tiktoken_cache_dir()), "HOME": folder, "PATH": ""},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 150)
        if process.returncode:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        return {**json.loads(out.splitlines()[-1]), "postgres": cpu_seconds(postgres) - before}


def _peer_python() -> Path:
    """The interpreter of the peer's environment, which is made when it is missing or its lock has changed."""
    python, stamp = PEER / "bin" / "python", PEER / ".locked"
    if stamp.exists() and stamp.read_text() == LOCK.read_text():
        return python
    say("making the peer's environment (once)")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER)], check=True, timeout=120)
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r",
         str(LOCK)],
        check=True, timeout=600,
    )  # fmt: skip
    stamp.write_text(LOCK.read_text())
    return python
