"""What the benchmarks share: the running product, its processes' CPU and memory, figures beside their targets."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import httpx2

from docuchat_local.product import RunningProduct, started_product
from docuchat_local.state import choose_port
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.quotas import set_token_quota
from docuchat_testkit.vocabulary import tiktoken_cache_dir

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("BENCH_DATA", ROOT.parent / "shared" / "data"))
BOOK = DATA / "pdf" / "geotopo-book-de.pdf"
SQUAD = DATA / "retrieval" / "squad-dev.json"
TENANT = 1
END = frozenset({"ready", "failed"})
MODEL = "gpt-4o-mini"
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number beside what it should be; `met` is None for a number that only explains another."""

    id: str
    what: str
    value: str
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "MISSED"


@dataclass(slots=True)
class Report:
    """Figures as they come: printed at once, kept for the table at the end."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, id_: str, what: str, value: str, target: str = "", met: bool | None = None) -> None:
        figure = Figure(id_, what, value, target, met)
        self.figures.append(figure)
        print(line(figure), flush=True)


def line(figure: Figure) -> str:
    return f"  {figure.id:<4}{figure.what:<66}{figure.value:>24}  {figure.target:<22}{figure.verdict}"


def say(text: str) -> None:
    print(f"  ... {text}", flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> str:
    model = next(
        (row.split(":", 1)[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row),
        platform.processor(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return (
        f"{os.cpu_count()} x {model}, {memory:.0f} GB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


class Bench:
    """The product and the stub provider, started when a benchmark first asks for them and shared by all."""

    def __init__(self, stack: ExitStack, *, quick: bool) -> None:
        self._stack = stack
        self.quick = quick
        self.report = Report()

    @cached_property
    def stub(self) -> StubProviderHandle:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(tiktoken_cache_dir())
        return self._stack.enter_context(running_stub_provider())

    @cached_property
    def product(self) -> RunningProduct:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="docuchat-bench-")))
        folder.chmod(0o755)  # PostgreSQL runs as another account when we are root
        settings = {
            "OPENAI_API_KEY": "stub",
            "CHAT_TITLES": "false",
            "QUESTION_REWRITING": "false",
            "OPENAI_BASE_URL": self.stub.base_url,
            "OPENAI_MODEL": MODEL,
            "EMBEDDING_PROVIDER": "wordllama",
            "LOG_LEVEL": "INFO",
            "GATEWAY_PORT": str(choose_port(set())),
            # the limiter does its work, it only never says no
            "RATE_LIMIT_PER_MINUTE": "10000000",
            "RATE_LIMIT_PER_ADDRESS": "10000000",
            "MAX_SOCKETS_PER_USER": "0",
            "MAX_SOCKETS_PER_ADDRESS": "0",
            "MAX_OUTPUT_TOKENS": "16000",
            "PROGRESS_POLL": "1",
        }
        say("starting the product: five services, PostgreSQL (fsync on), Redis, RabbitMQ")
        free_ports(folder)
        product = self._stack.enter_context(started_product(folder, settings))
        sign_in = _sign_in(product)
        self.token, self.user_id = sign_in
        _set_quota(product, self.user_id)
        return product

    def start(self) -> None:
        """Start the product unless it runs; outside of any event loop."""
        assert self.product

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "X-Tenant-ID": str(TENANT)}

    @property
    def socket_url(self) -> str:
        return self.product.gateway_url.replace("http://", "ws://") + "/ws/chat"


def free_ports(folder: Path) -> None:
    """Keep the product off the ports that a product of the user's may want."""
    taken: set[int] = set()
    for _ in range(4):
        taken.add(choose_port(taken))
    names = ("auth", "chat", "usage", "ingest-worker")
    rows = ", ".join(f'"{name}": {port}' for name, port in zip(names, sorted(taken), strict=True))
    (folder / "ports.json").write_text(f"{{{rows}}}")


def _sign_in(product: RunningProduct) -> tuple[str, UUID]:
    email = "bench@example.com"
    with httpx2.Client(base_url=product.gateway_url, headers={"X-Tenant-ID": str(TENANT)}, timeout=20) as client:
        since = product.processes["auth"].log.stat().st_size
        client.post("/v1/auth/request-code", json={"email": email}).raise_for_status()
        code = product.sign_in_code(since)
        answer = client.post("/v1/auth/verify-code", json={"email": email, "code": code}).raise_for_status().json()
        token = answer["access_token"]
        me = client.get("/v1/users/me", headers={"Authorization": f"Bearer {token}"}).raise_for_status().json()
        return token, UUID(me["id"])


def _set_quota(product: RunningProduct, user_id: UUID) -> None:
    """Quotas of tenant and user that hold for the whole run: both are checked and held, neither refuses."""
    for subject in (None, user_id):
        asyncio.run(set_token_quota(product.postgres_admin_url, TENANT, 10**12, subject))


# Processes


def children_of(pids: Iterable[int]) -> list[int]:
    """The processes and all their descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], list(pids)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += parents.get(pid, [])
    return found


def cpu_seconds(pid: int) -> float:
    """CPU of a process and its descendants, those that have ended included."""
    total = 0
    for one in children_of([pid]):
        fields = _stat(one)
        if fields:
            total += sum(int(value) for value in fields[11:15])  # utime, stime, and of children waited for
    return total / _TICK


def _stat(pid: int) -> list[str]:
    """Fields of /proc/pid/stat from the third (state) on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def product_pids(product: RunningProduct) -> dict[str, int]:
    assert product.servers is not None
    pids = {name: handle.pid for name, handle in product.processes.items()}
    for server in (product.servers.postgres, product.servers.redis, product.servers.rabbitmq):
        pids[server.name] = server.process.pid
    return {name: pid for name, pid in pids.items() if pid is not None}


def product_cpu(product: RunningProduct) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in product_pids(product).items()}


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - before.get(name, 0.0) for name in after}


# Files


async def upload(session: aiohttp.ClientSession, bench: Bench, content: bytes, name: str) -> dict[str, Any]:
    form = aiohttp.FormData()
    form.add_field("file", content, filename=name, content_type="application/pdf")
    async with session.post(f"{bench.product.gateway_url}/v1/files", data=form, headers=bench.headers) as response:
        body = await response.json()
        if response.status != 202:
            raise RuntimeError(f"upload answered {response.status}: {body}")
        return body


async def document(session: aiohttp.ClientSession, bench: Bench, document_id: str) -> dict[str, Any]:
    url = f"{bench.product.gateway_url}/v1/files/{document_id}"
    async with session.get(url, headers=bench.headers) as response:
        response.raise_for_status()
        return await response.json()


async def delete(session: aiohttp.ClientSession, bench: Bench, document_id: str) -> None:
    url = f"{bench.product.gateway_url}/v1/files/{document_id}"
    async with session.delete(url, headers=bench.headers) as response:
        response.raise_for_status()


async def ready(session: aiohttp.ClientSession, bench: Bench, document_id: str, every: float) -> dict[str, Any]:
    """Ask for the document every so many seconds until it is ready."""
    while (now := await document(session, bench, document_id))["status"] not in END:  # noqa: ASYNC110 - as clients do
        await asyncio.sleep(every)
    if now["status"] == "failed":
        raise RuntimeError(f"ingestion failed: {now['error']}")
    return now


def distinct(pdf: bytes, mark: str) -> bytes:
    """The same PDF with other bytes, so that it counts as another document."""
    return pdf + f"\n% {mark} {time.time_ns()}\n".encode()
