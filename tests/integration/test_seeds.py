"""The commands of the documents that the product was asked for from run as printed.

Only what cannot be printed in advance is filled in: the port when it is not 8000, the code out of auth's log, the
token, and `document.pdf`, which is a real file in the folder that the commands run in.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, answer_text, frames_until_end
from docuchat_testkit.vocabulary import repository_root

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PARTS = {"From the README": ("docuchat-readme.md", 4), "From the Persian guide": ("docuchat-guide-fa.md", 5)}

DEMO = {"X-Tenant-ID": "1"}


def printed(part: str) -> str:
    """What `docs/from-the-seeds.md` repeats of one document."""
    page = (repository_root() / "docs" / "from-the-seeds.md").read_text()
    return re.split(rf"^## {part}$", page, flags=re.MULTILINE)[1].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in the order of the document."""
    return [content for name, content in _FENCE.findall(text) if name == language]


def curl_commands(text: str) -> list[str]:
    """Every curl command of the bash blocks, its continued lines joined as a shell would."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").split("\n")
    return [line.strip() for line in lines if line.strip().startswith("curl ")]


@dataclass
class Terminal:
    """Runs printed commands, one after another, as somebody would who copies them."""

    product: Product
    folder: Path
    token: str = ""
    code: str = ""

    def fill_in(self, command: str) -> str:
        filled = command.replace("http://localhost:8000", self.product.url)
        filled = re.sub(r"<(your-)?token>", self.token, filled)
        return filled.replace('"123456"', f'"{self.code}"')

    async def run(self, command: str) -> tuple[int, Any]:
        """Status and JSON of one curl command; curl is told to print the status by its own configuration file."""
        (self.folder / ".curlrc").write_text('silent\nshow-error\nwrite-out = "\\n%{http_code}"\nmax-time = 30\n')
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            self.fill_in(command),
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "CURL_HOME": str(self.folder), "HOME": str(self.folder), "no_proxy": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaint = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, f"{command}\n{complaint.decode()}"
        body, _, status = output.decode().rpartition("\n")
        return int(status), json.loads(body)

    async def follow(self, text: str) -> list[str]:
        """Run every command of a document and hold it to what the document says of it."""
        done = []
        for command in curl_commands(text):
            since = self.product.running.processes["auth"].log.stat().st_size
            status, answer = await self.run(command)
            match re.search(r"http://localhost:8000(\S+)", command):
                case None:
                    raise AssertionError(f"a curl command without an address: {command}")
                case found:
                    path = found[1].strip("\"'")
            match path:
                case "/healthz":
                    assert (status, answer["status"]) == (200, "ok")
                case "/v1/auth/request-code":
                    assert (status, answer["status"], answer["expires_in"]) == (202, "sent", 600)
                    self.code = await asyncio.to_thread(self.product.running.sign_in_code, since)
                case "/v1/auth/verify-code":
                    assert (status, answer["token_type"]) == (200, "bearer"), answer
                    assert answer["expires_in"] > 0
                    assert answer["refresh_token"]
                    self.token = answer["access_token"]
                case "/v1/usage":
                    assert status == 200, answer
                    for window in ("last_24h", "last_7d"):
                        kinds = [answer[window][f"{kind}_tokens"] for kind in ("input", "output", "embedding")]
                        assert answer[window]["total_tokens"] == sum(kinds)
                case "/v1/files":
                    assert status in (200, 202), answer
                    assert (answer["title"], answer["filename"]) == ("My Document", "document.pdf")
                    await self.until_ready(answer["id"])
                case _:
                    raise AssertionError(f"say here what {path} should answer: {command}")
            done.append(path)
        return done

    async def until_ready(self, document_id: str) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.product.client(headers=headers) as http:

            async def is_ready() -> None:
                assert (await http.get(f"/v1/files/{document_id}")).json()["status"] == "ready"

            await eventually(is_ready, 60)


@pytest.fixture
def terminal(embedded_product: Product, tmp_path: Path, documents: Path) -> Terminal:
    # content of its own: an upload of known content is answered with the document that is there, under its first name
    content = (documents / "handbook-en.pdf").read_bytes() + b"% the seeds' own\n"
    (tmp_path / "document.pdf").write_bytes(content)
    return Terminal(embedded_product, tmp_path)


@pytest.mark.parametrize("part", _PARTS)
async def test_every_curl_command_runs_as_printed(terminal: Terminal, part: str) -> None:
    done = await terminal.follow(printed(part))
    assert len(done) == _PARTS[part][1], done


@pytest.mark.parametrize("part", _PARTS)
def test_the_page_repeats_the_seeds_word_for_word(seeds: Path, part: str) -> None:
    text = (seeds / _PARTS[part][0]).read_text()
    assert curl_commands(printed(part)) == curl_commands(text)
    sockets = [block for block in blocks(text, "javascript") if "new WebSocket" in block]
    assert blocks(printed(part), "javascript") == sockets
    pages = r"http://localhost:8000(/\w+)`"
    assert set(re.findall(pages, printed(part))) <= set(re.findall(pages, text))


async def test_the_websocket_snippet_gets_the_frames_that_it_reads(terminal: Terminal) -> None:
    guide = printed("From the Persian guide")
    await terminal.follow(guide)
    (snippet,) = [block for block in blocks(guide, "javascript") if "new WebSocket" in block]
    address = re.search(r"'(ws://[^']+)'", snippet)
    tenant = re.search(r"'X-Tenant-ID': '(\d+)'", snippet)
    message = re.search(r"message: '([^']+)'", snippet)
    session = re.search(r"session_id: (\d+)", snippet)
    assert address and tenant and message and session
    read_of = dict(re.findall(r"data\.type === '(\w+)'\) \{\s*console\.\w+\('\w+:', data\.(\w+)\)", snippet))
    assert read_of == {"start": "session_id", "delta": "token", "end": "usage", "error": "message"}

    url = terminal.fill_in(address[1].replace("ws://localhost:8000", "ws" + terminal.product.url.removeprefix("http")))
    async with connect(url, additional_headers={"X-Tenant-ID": tenant[1]}, proxy=None) as socket:
        await socket.send(json.dumps({"message": message[1], "session_id": int(session[1])}))
        frames = await frames_until_end(socket)
        first = frames[0]
        assert (first["type"], first["session_id"]) == ("start", session[1])
        assert answer_text(frames)
        assert frames[-1]["type"] == "end", frames[-1]
        assert frames[-1]["usage"]["total_tokens"] == sum(
            frames[-1]["usage"][kind] for kind in ("input_tokens", "output_tokens")
        )
        # the same session_id goes on with the same chat
        await socket.send(json.dumps({"message": message[1], "session_id": int(session[1])}))
        assert (await frames_until_end(socket))[0]["chat_id"] == first["chat_id"]

    async with connect(url, additional_headers={"X-Tenant-ID": "999999"}, proxy=None) as foreign:
        (refused,) = await frames_until_end(foreign)
        assert (refused["type"], bool(refused["message"])) == ("error", True)


async def test_a_browser_may_connect_with_the_token_alone(terminal: Terminal) -> None:
    """A browser's WebSocket takes no headers, whatever the snippet writes; the tenant is then the token's."""
    await terminal.follow(printed("From the README"))
    url = "ws" + terminal.product.url.removeprefix("http") + f"/ws/chat?token={terminal.token}"
    async with connect(url, origin="http://localhost:3000", proxy=None) as socket:
        await socket.send(json.dumps({"message": "Is anybody there?"}))
        assert (await frames_until_end(socket))[-1]["type"] == "end"


async def test_the_other_urls_of_the_readme_answer(embedded_product: Product) -> None:
    paths = re.findall(r"http://localhost:8000(/\w+)`", printed("From the README"))
    assert paths == ["/docs", "/redoc"]
    async with embedded_product.client() as http:
        for path in paths:
            page = await http.get(path)
            assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
        assert (await http.get("/openapi.json")).json()["info"]["title"]


async def test_the_literal_paths_of_signing_in_take_the_bodies_of_both_products(embedded_product: Product) -> None:
    person, secret = f"{uuid.uuid4().hex[:10]}@example.com", "seven purple harbours"
    customer = uuid.uuid4().hex[:10]
    async with embedded_product.client() as http:
        made = await http.post(
            "/auth/register", json={"name": "Ann", "email": person, "password": secret}, headers=DEMO
        )
        assert made.status_code == 201, made.text
        founded = await http.post(
            "/auth/register", json={"username": customer, "password": secret, "customer_name": "Acme"}
        )
        assert founded.status_code == 201 and founded.json()["user"]["role"] == "owner", founded.text
        for path, body in (
            ("/auth/login", {"json": {"email": person, "password": secret}}),
            ("/auth/token", {"data": {"username": person, "password": secret}}),
            ("/auth/token", {"json": {"username": customer, "password": secret}}),
        ):
            tokens = await http.post(path, **body)
            assert tokens.status_code == 200, tokens.text
            me = await http.get("/users/me", headers={"Authorization": f"Bearer {tokens.json()['access_token']}"})
            assert me.json()["email"] == person or me.json()["username"] == customer
        owner = {"Authorization": f"Bearer {founded.json()['access_token']}"}
        for tenant in (founded.json()["user"]["tenant"]["customer_id"], founded.json()["user"]["tenant"]["slug"]):
            assert (await http.get("/v1/usage", headers={**owner, "X-Tenant-ID": tenant})).status_code == 200
        assert (await http.get("/v1/usage", headers={**owner, **DEMO})).status_code == 403
