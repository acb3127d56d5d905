"""Change one line of the product at a time, and demand that the tests which ought to notice do.

`table.toml` lists the changes. Each is made in a copy of the repository, never in the checkout. The named tests pass in
the unchanged copy first; with the change each of them has to fail, by an assertion or an error of its own: what cannot
be collected, or does not end, counts as a fault of the table.
"""

import argparse
import itertools
import multiprocessing
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.toml")
# Where each package's import root is: put before the installed ones, so that a copy's code is what its tests import.
PACKAGES = sorted(path.parent.relative_to(ROOT) for path in ROOT.glob("[!.]*/**/pyproject.toml") if path.parent != ROOT)
# What a change makes hang fails soon; what is not changed has all the time that a busy machine takes.
CHANGED_TEST_SECONDS, CHANGED_SECONDS = 60, 300
UNCHANGED_TEST_SECONDS, UNCHANGED_SECONDS = 300, 1800
# Each run is forked off a process that has imported what takes long and is not ours.
_SLOW = """
    pytest pytest_asyncio.plugin pytest_timeout pytest_socket xdist.scheduler hypothesis jsonschema_rs faulthandler pdb
    aio_pika aiohttp.web aiosmtplib aiosql alembic.config argon2 asyncpg authlib.oidc.core cbor2 cryptography.x509
    dns.resolver fastapi httptools httpx2 joserfc.jwk jwt numpy obstore OpenSSL orjson pgvector.asyncpg
    prometheus_client puremagic pydantic_settings pyotp pypdf redis.asyncio rich.console sqlalchemy.ext.asyncio
    structlog tiktoken unittest.mock uuid_utils uvicorn webauthn websockets xml.etree.ElementTree zxcvbn
"""
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(_SLOW.split())
_PYTEST = [
    *("-q", "-rA", "--tb=no", "--no-header", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "pytest_socket"),
]
_SECONDS = itertools.count(1)
_OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """One change, and the tests that have to notice."""

    name: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def fault(self, root: Path) -> str | None:
        """What is wrong with this line of the table, if anything."""
        path = root / self.file
        if not path.is_file():
            return f"no file {self.file}"
        if (times := path.read_text().count(self.text)) != 1:
            return f"the text occurs {times} times in {self.file}, not once"
        if not self.tests:
            return "names no test"
        return "changes nothing" if self.text == self.replacement else None


@dataclass(frozen=True)
class Run:
    """How a run of pytest ended."""

    status: int
    outcomes: dict[str, str]
    output: str


def mutants_of(table: Path) -> list[Mutant]:
    """The table's lines. Raises ValueError when two have one name."""
    entries = tomllib.loads(table.read_text())["mutant"]
    mutants = [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    twice = [name for name, times in Counter(mutant.name for mutant in mutants).items() if times > 1]
    if twice:
        raise ValueError(f"Names stand twice in {table.name}: {', '.join(twice)}")
    return mutants


@contextmanager
def copies(number: int) -> Iterator[list[Path]]:
    """Copies of what git knows of the checkout, as it lies there, with the checkout's environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    with tempfile.TemporaryDirectory(prefix="docuchat-mutants-") as folder:
        made = [Path(folder) / str(ordinal) for ordinal in range(number)]
        for copy in made:
            for file in files:
                if file.is_file():
                    target = copy / file.relative_to(ROOT)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, target)
            (copy / ".venv").symlink_to(ROOT / ".venv")
        yield made


@contextmanager
def shared_servers() -> Iterator[dict[str, str]]:
    """The environment by which all runs use one set of servers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "docuchat_testkit.servers"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        given: dict[str, str] = {}
        for line in process.stdout:
            if named := re.match(r"export (\w+)='?([^'\n]*)'?", line):
                given[named[1]] = named[2]
            if len(given) == 4:
                break
        yield os.environ | given
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def run_tests(copy: Path, tests: list[str], environment: dict[str, str], of_test: int, of_all: int) -> Run:
    """Run tests in a copy, each as many seconds at most; a run that does not end is killed, and has no outcomes."""
    with tempfile.NamedTemporaryFile("r") as printed:
        process = _PROCESSES.Process(target=_in_copy, args=(copy, tests, environment, printed.name, of_test))
        process.start()
        process.join(of_all)
        if process.exitcode is None:
            os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
            return Run(-1, {}, printed.read())
        output = printed.read()
    return Run(process.exitcode, {name: outcome for outcome, name in _OUTCOME.findall(output)}, output)


def _in_copy(copy: Path, tests: list[str], environment: dict[str, str], printed: str, seconds: int) -> None:
    """Run pytest in a process of its own, with the copy's packages before the installed ones."""
    os.setsid()
    with Path(printed).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    packages = [str(copy / package) for package in PACKAGES]
    os.environ.update(environment | {"PYTHONPATH": os.pathsep.join(packages), "COLUMNS": "400"})
    os.environ.update({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "EVENTUALLY_SECONDS": str(seconds // 6)})
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.chdir(copy)
    sys.dont_write_bytecode = False
    sys.path[:0] = [str(copy), *packages]
    import pytest

    status = int(pytest.main([*_PYTEST, f"--timeout={seconds}", *tests]))
    sys.stdout.flush()
    os._exit(status)


def of_test(outcomes: dict[str, str], test: str) -> list[str]:
    """The outcomes of a test: of each of its cases, when it has several; of all in a file, when it is one."""
    return [outcome for name, outcome in outcomes.items() if name == test or name.startswith((f"{test}[", f"{test}::"))]


def verdict(mutant: Mutant, copy: Path, environment: dict[str, str]) -> str | None:
    """Why the mutant counts as missed; None when every test that it names failed."""
    path = copy / mutant.file
    unchanged, written = path.read_text(), path.stat().st_mtime_ns
    path.write_text(unchanged.replace(mutant.text, mutant.replacement))
    # cached bytecode is known by its source's size and whole second: no two mutants may share one
    os.utime(path, ns=(written, written + next(_SECONDS) * 10**9))
    try:
        run = run_tests(copy, list(mutant.tests), environment, CHANGED_TEST_SECONDS, CHANGED_SECONDS)
    finally:
        path.write_text(unchanged)
        os.utime(path, ns=(written, written))
    if run.status == -1:
        return "the tests did not end"
    if run.status not in {0, 1}:
        return f"pytest ended with {run.status}: {run.output[-300:]}"
    survived = [test for test in mutant.tests if not {"FAILED", "ERROR"} & set(of_test(run.outcomes, test))]
    return f"not noticed by {', '.join(survived)}" if survived else None


def baseline(folders: list[Path], mutants: list[Mutant], environment: dict[str, str]) -> str | None:
    """What of the named tests does not pass before anything is changed."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    share = -(-len(tests) // len(folders))
    shares = [tests[first : first + share] for first in range(0, len(tests), share)]
    with ThreadPoolExecutor(len(folders)) as threads:
        runs = list(
            threads.map(
                lambda of: run_tests(*of, environment, UNCHANGED_TEST_SECONDS, UNCHANGED_SECONDS),
                zip(folders, shares, strict=False),
            )
        )
    outcomes = {name: outcome for run in runs for name, outcome in run.outcomes.items()}
    bad = [test for test in tests if set(of_test(outcomes, test)) != {"PASSED"}]
    return (
        "\n".join(["do not pass in the unchanged repository:", *bad, *(run.output[-2000:] for run in runs)])
        if bad
        else None
    )


def main() -> int:
    """Run the table, or the lines whose name contains one of the words given."""
    parser = argparse.ArgumentParser(description="Change the product a line at a time; the tests named must notice.")
    parser.add_argument("words", nargs="*", help="only mutants whose name contains one of these")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--workers", type=int, default=2 * (os.cpu_count() or 2))  # tests wait more than they compute
    arguments = parser.parse_args()
    began = time.monotonic()
    chosen = [
        mutant
        for mutant in mutants_of(arguments.table)
        if not arguments.words or any(word in mutant.name for word in arguments.words)
    ]
    missed = {mutant.name: fault for mutant in chosen if (fault := mutant.fault(ROOT))}
    for name, fault in missed.items():
        print(f"FAILED {name}: {fault}", flush=True)
    sound = [mutant for mutant in chosen if mutant.name not in missed]
    with copies(arguments.workers) as folders, shared_servers() as environment:
        if bad := baseline(folders, sound, environment):
            print(bad)
            return 1
        free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for folder in folders:
            free.put(folder)

        def try_out(mutant: Mutant) -> None:
            folder = free.get()
            why = verdict(mutant, folder, environment)
            free.put(folder)
            if why:
                missed[mutant.name] = why
            print(f"FAILED {mutant.name}: {why}" if why else f"passed {mutant.name}", flush=True)

        with ThreadPoolExecutor(len(folders)) as threads:
            list(threads.map(try_out, sound))
    passed, failed = len(chosen) - len(missed), len(missed)
    print(f"took {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
