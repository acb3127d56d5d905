"""The stub provider as a child process, and the handle by which a test scripts and reads it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from docuchat_testkit.provider_rules import Call, Counts, Rule
from docuchat_testkit.vocabulary import tiktoken_cache_dir

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class StubProviderHandle:
    """A running stub provider. `base_url` is what a service takes as `OPENAI_BASE_URL`."""

    url: str
    pid: int
    _http: httpx2.Client

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def control(self, *rules: Rule) -> None:
        """Replace the rules in force; without any, every call is served plainly."""
        body = "[" + ",".join(rule.model_dump_json() for rule in rules) + "]"
        self._http.post("/_control", content=body).raise_for_status()

    def reset(self) -> None:
        """Forget rules, calls and counts."""
        self._http.post("/_reset").raise_for_status()

    def counts(self) -> Counts:
        return Counts.model_validate_json(self._http.get("/_counts").content)

    def calls(self) -> list[Call]:
        return [Call.model_validate(call) for call in self._http.get("/_calls").json()]


@contextlib.contextmanager
def running_stub_provider(port: int = 0, *, batch: int = 32) -> Iterator[StubProviderHandle]:
    """Start a stub provider on a free port (or the given one) and end it on leaving, or when this process dies."""
    command = [sys.executable, "-m", "docuchat_testkit.stub_provider", "--port", str(port), "--batch", str(batch)]
    environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(tiktoken_cache_dir())}
    with subprocess.Popen(
        [*command, "--die-with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            process.kill()
            raise RuntimeError(f"The stub provider did not start; it said {line!r}.")
        url = line.removeprefix("listening on ").strip()
        try:
            with httpx2.Client(base_url=url, timeout=_START_SECONDS) as http:
                yield StubProviderHandle(url, process.pid, http)
        finally:
            process.stdin.close()
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
