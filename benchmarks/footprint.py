"""P8: memory of each idle service, and how soon a second start serves; through the command that `make run` runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, Bench, children_of, free_ports, say

from docuchat_local.accounts import remove_stand_in
from docuchat_local.probes import http_status
from docuchat_local.services import SERVICE_NAMES
from docuchat_local.state import choose_port

MODULES = {"docuchat_ingest": "ingest-worker"} | {
    f"docuchat_{name}": name for name in SERVICE_NAMES if name != "ingest-worker"
}
LIMIT = 150.0
MOST_START_SECONDS = 4.0
START_SECONDS = 90


def run(bench: Bench) -> None:
    with tempfile.TemporaryDirectory(prefix="docuchat-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        free_ports(folder)
        try:
            first, _ = _start_and_stop(folder, settle=0)
            second, memory = _start_and_stop(folder, settle=2 if bench.quick else 8)
        finally:
            remove_stand_in(folder / "servers")
    add = bench.report.add
    add("P8", "first start, empty folder: the command to /readyz", f"{first:.1f} s")
    add(
        "P8",
        "second start: the command to /readyz",
        f"{second:.1f} s",
        f"<= {MOST_START_SECONDS:.0f} s",
        second <= MOST_START_SECONDS,
    )
    for service, (rss, pss, whole) in sorted(memory.items()):
        met = max(rss, whole) <= LIMIT
        add(
            "P8",
            f"{service}, idle: RSS, PSS; PSS with its children",
            f"{rss:.0f}, {pss:.0f}; {whole:.0f} MB",
            f"<= {LIMIT:.0f} MB",
            met,
        )


def _start_and_stop(folder: Path, settle: float) -> tuple[float, dict[str, tuple[float, float, float]]]:
    port = choose_port(set())
    environment = {**os.environ, "GATEWAY_PORT": str(port)}
    environment.pop("OPENAI_API_KEY", None)
    started = time.perf_counter()
    log = folder / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from docuchat_local.cli import main; main()", "up", "--folder", str(folder)],
            cwd=ROOT, env=environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        while http_status(f"http://127.0.0.1:{port}/readyz") != 200:
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise RuntimeError(f"no start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        time.sleep(settle)
        return seconds, _memory(process.pid) if settle else {}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            say("the product did not stop in time")
            process.kill()
            process.wait()


def _memory(root: int) -> dict[str, tuple[float, float, float]]:
    """MB of each service below `root`: RSS and PSS of its process, PSS with its children."""
    found: dict[str, tuple[float, float, float]] = {}
    for pid in children_of([root]):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"-m" not in words:
            continue
        service = MODULES.get(words[words.index(b"-m") + 1].decode())
        if service is not None:
            rss, pss = _rollup(pid)
            found[service] = (rss, pss, sum(_rollup(one)[1] for one in children_of([pid])))
    return found


def _rollup(pid: int) -> tuple[float, float]:
    values = dict(
        row.split(":", 1) for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in row
    )
    return int(values["Rss"].split()[0]) / 1024, int(values["Pss"].split()[0]) / 1024
