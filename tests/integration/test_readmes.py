"""Every command that a README prints is run as printed, by somebody who starts at its top and copies line by line.

Filled in is only what cannot be printed in advance: the address when the port is not 8000, the sign-in code, the token,
and the ids between angle brackets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from docuchat_client import AsyncDocuChat, FileCredentials
from docuchat_client.cli import app
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product
from docuchat_testkit.vocabulary import repository_root

pytestmark = pytest.mark.timeout(600)

ROOT = repository_root()
_FENCE = re.compile(r"^```(?:bash|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SECONDS = 60
_DOCUCHAT = ("docuchat ", ".venv/bin/docuchat ")
_SHELL = re.compile(r"docuchat login|[<>|&;$`]")
_KNOWN = ("token", "id", "chat-id", "message-id", "publishable-id", "code", "invitation")
_INVITATION = re.compile(r"auth\.invitation_issued token=(\S+)")
_KEPT = ".config/docuchat"
ELSEWHERE = {
    "make run": "deploy/local/tests/test_product.py",
    "make demo": "deploy/local/tests/test_demo.py",
    "docuchat-local restart": "deploy/local/tests/test_product.py",
    "docuchat-local subscriber": "deploy/local/tests/test_subscriber.py",
    "make test": ".ci/run",
    "python -m docuchat_setup": "deploy/setup/tests",
    "python -m docuchat_testkit.servers": "tests/testkit/tests",
    ". ./servers.env": "tests/testkit/tests",
}
"""Commands that something else runs, and what."""


def pages() -> list[Path]:
    """Every page of ours, in the order of its path."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/**/README.md")]
    return sorted(page for page in found if not {".venv", ".local", "node_modules"} & set(page.relative_to(ROOT).parts))


def readmes() -> list[Path]:
    """Every page with commands; the seeds' page has a test of its own."""
    return [page for page in pages() if _FENCE.search(page.read_text()) and page.name != "from-the-seeds.md"]


def served_metrics() -> set[str]:
    """The names under which Prometheus finds what the code counts."""
    made = re.compile(r"\b(Counter|Gauge|Histogram|Info)\(\s*\"(docuchat_\w+)\"")
    suffixes = {"Counter": ("_total",), "Gauge": ("",), "Info": ("_info",)}
    sources = [
        path.read_text() for folder in ("libs", "services") for path in ROOT.glob(f"{folder}/*/docuchat_*/**/*.py")
    ]
    return {
        name + suffix
        for source in sources
        for kind, name in made.findall(source)
        for suffix in suffixes.get(kind, ("", "_bucket", "_count", "_sum"))
    }


def test_every_metric_that_a_page_names_is_served() -> None:
    metrics = served_metrics()
    others = {path.name for path in ROOT.glob("*/*/docuchat_*")} | {"docuchat_owner", "docuchat_test"}
    named = {(page, name) for page in pages() for name in re.findall(r"\bdocuchat_\w+", page.read_text())}
    assert {(str(page.relative_to(ROOT)), name) for page, name in named if name not in metrics | others} == set()
    assert metrics & {name for _, name in named}


def commands_of(page: Path) -> list[str]:
    """The commands of a page, continued lines joined, comments at the end left out."""
    text = "\n".join(_FENCE.findall(page.read_text())).replace("\\\n", " ")
    lines = (re.sub(r"\s+# .*$", "", line).strip() for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


@dataclass
class Reader:
    """Runs what is printed, one command after another."""

    product: Product
    folder: Path
    known: dict[str, str] = field(default_factory=lambda: dict.fromkeys(_KNOWN, ""))

    @property
    def auth_log(self) -> Path:
        return self.product.running.processes["auth"].log

    def fill_in(self, command: str) -> str:
        filled = command.replace("http://localhost:8000", self.product.url).replace(
            '"123456"', f'"{self.known["code"]}"'
        )
        for name, value in self.known.items():
            filled = filled.replace(f"<{name}>", value)
        for name, value in (("TOKEN", self.known["token"]), ("ID", self.known["id"])):
            filled = filled.replace(f"export {name}=...", "true").replace(f"${name}", value)
        return filled

    async def run(self, command: str) -> None:
        """Run one command; it has to succeed, and what it answers is remembered for the next ones."""
        since = self.auth_log.stat().st_size
        if command.startswith(_DOCUCHAT) and not _SHELL.search(self.fill_in(command)):
            await self.run_here(command)
            if "docuchat invitations resend" in command:
                self.known["invitation"] = await eventually(lambda: self.invitation_sent(since))
            return
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            self.fill_in(command),
            cwd=self.folder,
            env={
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "CURL_HOME": str(self.folder),
                "DOCUCHAT_SERVER": self.product.url,
                "NO_COLOR": "1",
                "COLUMNS": "80",
                "PYTHONUTF8": "1",
                "no_proxy": "*",
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        answer = None
        if "docuchat login" in command:
            code = await asyncio.to_thread(self.product.running.sign_in_code, since)
            answer = f"{code}\n".encode()
        output, complaint = await asyncio.wait_for(process.communicate(answer), _SECONDS)
        assert process.returncode == 0, f"{command}\n{output.decode()}\n{complaint.decode()}"
        if "request-code" in command:
            self.known["code"] = await asyncio.to_thread(self.product.running.sign_in_code, since)
        await self.remember(output.decode())

    async def run_here(self, command: str) -> None:
        """A command of ours that needs no shell, in this process: each start of another one costs half a second."""
        _, *arguments = shlex.split(self.fill_in(command))
        environment = {"DOCUCHAT_SERVER": self.product.url, "DOCUCHAT_CONFIG_DIR": str(self.folder / _KEPT)}
        with contextlib.chdir(self.folder):
            done = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
        await self.remember(done.stdout)

    def invitation_sent(self, since: int) -> str:
        """What a mail would bring."""
        return _INVITATION.findall(self.auth_log.read_bytes()[since:].decode())[-1]

    async def remember(self, output: str) -> None:
        try:
            answer = json.loads(output)
        except ValueError:
            answer = {}
        if isinstance(answer, dict):
            self.known["token"] = answer.get("access_token", self.known["token"])
            self.known["id"] = answer["id"] if "filename" in answer else self.known["id"]

    async def look_around(self) -> None:
        """Note the ids that a reader would copy from the lists."""
        kept = self.folder / _KEPT / "credentials.json"
        credentials = FileCredentials(kept) if kept.exists() else None
        token = None if kept.exists() else self.known["token"]
        async with AsyncDocuChat(self.product.url, access_token=token, credentials=credentials) as client:
            files = (await client.documents(limit=1)).items
            chats = (await client.chats(limit=1)).items
            chatbots = [chatbot async for chatbot in client.chatbots()]
            messages = (await client.chat(chats[0].id)).messages if chats else []
        self.known["id"] = self.known["id"] or (str(files[0].id) if files else "")
        self.known["chat-id"] = str(chats[0].id) if chats else ""
        self.known["message-id"] = str(messages[-1].id) if messages else ""
        self.known["publishable-id"] = chatbots[0].publishable_id if chatbots else ""


@pytest.fixture
def reader(embedded_product: Product, documents: Path, tmp_path: Path) -> Reader:
    for name in ("document", "report", "contract"):
        shutil.copy(documents / "handbook-en.pdf", tmp_path / f"{name}.pdf")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".local").symlink_to(embedded_product.running.folder)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\nmax-time = 30\n")
    return Reader(embedded_product, tmp_path)


@pytest.mark.parametrize("page", readmes(), ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_command_of_a_page_runs_as_printed(reader: Reader, page: Path) -> None:
    commands = commands_of(page)
    assert commands
    for command in commands:
        elsewhere = next((place for start, place in ELSEWHERE.items() if command.startswith(start)), None)
        if elsewhere is not None:
            assert (ROOT / elsewhere).exists(), f"{command} is said to be run by {elsewhere}"
            continue
        if re.search("<(id|chat-id|message-id|publishable-id)>", command):
            await reader.look_around()
        await reader.run(command)
