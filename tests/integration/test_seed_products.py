"""Every endpoint and every column of the documents that the product was asked for from, by `docs/from-the-seeds.md`.

What is here is called at its own path and found in the answer; what comes later stands there by name, and is 404.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, small_pdf
from docuchat_testkit.vocabulary import repository_root

DEMO = {"X-Tenant-ID": "1"}
SECRET = "seven purple harbours"
LATER = {"billing", "metadata"}
"""What the tables may put off; each goes with what brings it."""
INDIFLY, PLATFORM = "indifly-chat.md", "chatbot-platform.md"
_PLACE = re.compile(r"`(\S+ \S+)` → `([\w.]+)`")


@dataclass(frozen=True)
class Line:
    """One line of a table of the page."""

    document: str
    theirs: str
    here: str

    @property
    def is_later(self) -> bool:
        return self.here.startswith("later: ")


def table(title: str) -> list[Line]:
    """The lines of a table of `docs/from-the-seeds.md`."""
    page = (repository_root() / "docs" / "from-the-seeds.md").read_text()
    part = re.split(rf"^## {title}$", page, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return [Line(*found) for found in re.findall(r"^\| (\S+\.md) \| `([^`]+)` \| (.+) \|$", part, re.MULTILINE)]


def endpoints_of(text: str) -> set[str]:
    """What a document lists as its endpoints."""
    listed = re.findall(r"^- `((?:GET|POST|PUT|DELETE|WS) /\S*)`", text, re.MULTILINE)
    rows = re.findall(r"^\| `(/\S+)`\s*\| (\w+)\s*\|", text, re.MULTILINE)
    named = re.findall(r"via `(/\S+)` endpoint", text)
    return {*listed, *(f"{method} {path}" for path, method in rows), *(f"POST {path}" for path in named)}


def columns_of(text: str) -> set[str]:
    """What a document lists as the columns of its tables, as `table.column`."""
    found = set()
    for name, body in re.findall(r"^\d+\. \*\*(\w+)\*\*.*\n((?:   - .*\n)+)", text, re.MULTILINE):
        for line in body.splitlines():
            names = re.sub(r"\([^)]*\)", "", line.strip(" -")).split(",")
            found |= {f"{name}.{column.strip()}" for column in names}
    for name, body in re.findall(r"^    (\w+) \{\n(.*?)^    \}", text, re.MULTILINE | re.DOTALL):
        found |= {f"{name}.{column}" for column in re.findall(r"^\s+\S+ (\w+)", body, re.MULTILINE)}
    return found


ELSEWHERE = {
    "make run": "deploy/local/tests/test_product.py",
    "make test": ".ci/run",
    "make lint": ".ci/run",
    "make format": "Makefile",
    "python -m docuchat_setup": "deploy/setup/tests",
}
"""Commands that something else runs, and what."""


def commands() -> dict[str, str]:
    """What the page says of each printed command."""
    page = (repository_root() / "docs" / "from-the-seeds.md").read_text().partition("\n## Commands\n")[2]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", page, re.MULTILINE)
    return {theirs.replace("\\|", "|"): here for theirs, here in rows}


def commands_of(text: str) -> set[str]:
    """The commands that a document prints, without requests; what was answered to some is marked there."""
    found = set()
    for block in re.findall(r"^ *```(?:bash|sql)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+", " ", re.sub(r"\s+# .*$", "", line.strip()).removeprefix("$ "))
            if command and not command.startswith(("#", "--", "curl ", "DATABASE_URL=")) and "✅" not in command:
                found.add(command)
    return found


def test_every_printed_command_has_one_that_does_it_here() -> None:
    for theirs, here in commands().items():
        if here.startswith("nothing: "):
            continue
        command = here.strip("`")
        place = next((place for start, place in ELSEWHERE.items() if command.startswith(start)), None)
        if place is not None:
            assert (repository_root() / place).exists(), f"{command} is said to be run by {place}"
            continue
        local = command.replace(".venv/bin/", f"{sys.prefix}/bin/")
        done = subprocess.run(shlex.split(local), cwd=repository_root(), capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (theirs, done.stdout, done.stderr)


def test_the_commands_are_those_that_the_documents_print(seeds: Path) -> None:
    printed = set[str]().union(*(commands_of(document.read_text()) for document in seeds.glob("*.md")))
    assert commands().keys() == printed


def test_the_tables_name_everything_that_the_documents_list(seeds: Path) -> None:
    for name in ("docuchat-readme.md", "docuchat-guide-fa.md", "docuchat-report.md", INDIFLY, PLATFORM):
        text = (seeds / name).read_text()
        listed = endpoints_of(text)
        assert listed
        assert {line.theirs for line in table("Endpoints") if line.document == name} == listed
        assert {line.theirs for line in table("Columns") if line.document == name} == columns_of(text)


def test_what_comes_later_is_named_and_nothing_else_is_missing() -> None:
    lines = table("Endpoints") + table("Columns")
    assert len(lines) == len({(line.document, line.theirs) for line in lines})
    assert {line.here.removeprefix("later: ") for line in lines if line.is_later} == LATER
    for line in table("Columns"):
        assert line.is_later or line.here.startswith("never shown: ") or _PLACE.fullmatch(line.here), line


@dataclass
class Client:
    """Calls what a document lists, and keeps what was answered."""

    http: httpx2.AsyncClient
    answers: dict[str, Any] = field(default_factory=dict)

    async def call(self, operation: str, status: int = 200, /, **options: Any) -> Any:
        """The answer of an operation, whose path may have `named` parameters."""
        named = options.pop("named", {})
        method, path = operation.split(" ")
        answer = await self.http.request(method, path.format(**named), **options)
        assert answer.status_code == status, f"{operation}: {answer.status_code} {answer.text}"
        self.answers[operation] = answer.json() if answer.content else None
        return self.answers[operation]

    async def signed_in(self, operation: str, **options: Any) -> None:
        tokens = await self.call(operation, **options)
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    def found(self, line: Line) -> bool:
        """Whether a column stands where the page says, in what was answered."""
        place = _PLACE.fullmatch(line.here)
        assert place is not None
        value = self.answers[place[1]]
        for name in place[2].split("."):
            value = value[0] if isinstance(value, list) else value
            if name not in value:
                return False
            value = value[name]
        return True

    def assert_complete(self, document: str) -> None:
        """All that the page says to be here was called and found."""
        endpoints = [line for line in table("Endpoints") if line.document == document and not line.is_later]
        assert {line.theirs for line in endpoints} <= self.answers.keys()
        for line in table("Columns"):
            if line.document == document and _PLACE.fullmatch(line.here):
                assert self.found(line), line


@pytest.fixture
async def client(embedded_product: Product) -> AsyncIterator[Client]:
    async with embedded_product.client() as http:
        yield Client(http)


async def test_what_comes_later_is_not_there_and_the_rest_means_what_the_page_says(client: Client) -> None:
    described = (await client.http.get("/openapi.json")).json()["paths"]
    for line in table("Endpoints"):
        method, path = line.theirs.split(" ")
        if line.is_later:
            names = dict.fromkeys(re.findall(r"\{(\w+)\}", path), str(uuid.uuid4()))
            await client.call(line.theirs, 404, named=names)
        elif method != "WS" and path != "/docs":
            our_method, ours = line.here.strip("`").split(" ")
            assert our_method == method
            assert path in [ours, *described[ours][method.lower()].get("x-aliases", [])], line


async def test_a_client_of_indifly_chat_finds_everything_under_its_own_names(client: Client, documents: Path) -> None:
    person = f"{uuid.uuid4().hex[:10]}@example.com"
    assert (await client.call("GET /health"))["status"] == "ok"
    await client.call("GET /")
    body = {"name": "Ann", "email": person, "password": SECRET}
    await client.call("POST /auth/register", 201, json=body, headers=DEMO)
    await client.signed_in("POST /auth/login", json={"email": person, "password": SECRET})
    me = await client.call("GET /users/me")
    assert (me["name"], me["email"], me["is_active"]) == ("Ann", person, True)

    chat = await client.call("POST /chats", 201, json={"title": "Warranty"})
    assert (chat["title"], chat["user_id"]) == ("Warranty", me["id"])
    second = await client.call("POST /chats", 201, json={})
    pages = [await client.http.get("/chats", params={"limit": 1})]
    pages.append(await client.http.get(pages[0].links["next"]["url"]))
    assert [page.json()[0]["id"] for page in pages] == [second["id"], chat["id"]]
    assert [row["id"] for row in await client.call("GET /chats", params={"search": "warranty"})] == [chat["id"]]
    named = {"chat_id": chat["id"]}
    renamed = await client.call("PUT /chats/{chat_id}", named=named, json={"title": "Handbook"})
    assert renamed["title"] == "Handbook"

    with (documents / "handbook-en.pdf").open("rb") as content:
        form = {"file": ("handbook.pdf", content, "application/pdf")}
        file = await client.call("POST /files/upload", 202, files=form)
    assert (file["original_name"], file["content_type"]) == ("handbook.pdf", "application/pdf")
    said = {**named, "content": "See this.", "file_name": "handbook.pdf", "file_url": file["file_url"]}
    await client.call("POST /messages", 422, json={**said, "type": "bot"})
    message = await client.call("POST /messages", 201, json={**said, "type": "user", "metadata": {"lang": "en"}})
    assert (message["type"], message["metadata"]) == ("user", {"lang": "en"})
    answer = await client.call("POST /chat", json={**named, "message": "What is this about?"})
    assert answer["response"] == answer["message"]["content"]
    assert (answer["message"]["type"], answer["ai_usage"]["message_id"]) == ("bot", answer["message"]["id"])

    await client.call("POST /v1/chats/{chat_id}/sessions", 201, named=named)
    whole = await client.call("GET /chats/{chat_id}", named=named)
    shown = [(row["type"], row["file_url"]) for row in whole["messages"]]
    assert shown == [("user", file["file_url"]), ("user", None), ("bot", None)]
    await client.call("GET /v1/usage")
    await client.call("DELETE /chats/{chat_id}", 204, named=named)
    assert (await client.http.get(f"/chats/{chat['id']}")).json()["code"] == "chat_not_found"
    client.assert_complete(INDIFLY)


async def test_a_client_of_the_chatbot_platform_finds_everything_under_its_own_names(client: Client) -> None:
    customer = uuid.uuid4().hex[:10]
    founding = {"username": customer, "password": SECRET, "customer_name": "Acme"}
    founded = await client.call("POST /auth/register", 201, json=founding)
    assert founded["customer_id"] == founded["user"]["tenant"]["customer_id"]
    # a form, as OAuth 2 and FastAPI's own clients send it; JSON is taken, too
    await client.signed_in("POST /auth/token", json={"username": customer, "password": SECRET})
    form = {"grant_type": "password", "username": customer, "password": SECRET}
    await client.signed_in("POST /auth/token", data=form)
    me = await client.call("GET /users/me")
    assert (me["username"], me["customer_id"]) == (customer, founded["customer_id"])
    await client.call("GET /v1/usage")

    made = await client.call("POST /api/chatbots", 201, json={"name": "Shop", "description": "Sells contracts."})
    assert (made["customer_id"], made["demo_message_count"]) == (me["customer_id"], 10)
    (listed,) = await client.call("GET /api/chatbots")
    assert listed == made | {"api_key": None}  # it is shown once
    named = {"chatbot_id": made["id"]}
    snippet = await client.call("GET /api/chatbots/{chatbot_id}/snippet", named=named)
    assert f'integrity="{snippet["integrity"]}"' in snippet["html"]
    assert snippet["publishable_id"] in snippet["html"]
    assert (await client.http.get(urlsplit(snippet["script_url"]).path)).status_code == 200
    upload = "POST /api/upload/{chatbot_id}"
    form_file = {"file": ("contract.pdf", small_pdf(("The contract ends in May.",)), "application/pdf")}
    document = await client.call(upload, 202, named=named, files=form_file)
    assert (document["chatbot_id"], document["file_type"]) == (made["id"], "application/pdf")

    async def is_ready() -> None:
        assert (await client.http.get(f"/v1/files/{document['id']}")).json()["status"] == "ready"

    await eventually(is_ready, 60)
    asked = "When does the contract end?"
    theirs = "POST /api/{customer_id}/{chatbot_id}/query"
    answer = await client.call(theirs, named={**named, "customer_id": me["customer_id"]}, json={"query": asked})
    assert (answer["user_id"], answer["question"], answer["chatbot_id"]) == (me["id"], asked, made["id"])
    assert "May" in answer["answer"]
    assert abs(datetime.fromisoformat(answer["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=5)
    stranger = {**named, "customer_id": str(uuid.uuid4())}
    assert (await client.call(theirs, 403, named=stranger, json={"query": asked}))["code"] == "tenant_mismatch"
    client.answers[theirs] = answer

    rotated = await client.call("POST /api/chatbots/{chatbot_id}/rotate_key", 201, named=named)
    del client.http.headers["Authorization"]
    public = "POST /api/public/{chatbot_id}/query"
    for key in (made["api_key"], rotated["api_key"]):  # the one before works for a while
        said = await client.call(public, named=named, json={"question": asked}, headers={"X-API-Key": key})
        assert (said["user_id"], said["chatbot_id"]) == (None, made["id"]) and "May" in said["answer"]
    assert (await client.http.post(f"/api/public/{made['id']}/query", json={"question": asked})).status_code == 401
    client.assert_complete(PLATFORM)
