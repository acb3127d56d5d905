"""DocuChat by its public API alone: sign in, upload, watch, ask over WebSocket, ask by HTTP, look at usage, clean up.

    .venv/bin/python examples/api_usage.py document.pdf --question "How many days of paid leave are there?"

Needs httpx2 and websockets (both are in `.venv`), and a running product (`make run`). The sign-in code is taken from
`--code` (one that was requested before), else from the log of a local product, else it is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import connect

AUTH_LOG = Path(".local/logs/auth.log")
DEFAULT_DOCUMENT = Path(__file__).parent / "documents" / "handbook-en.pdf"


def explain(response: httpx2.Response) -> None:
    """Leave with the problem document's own words when a request was refused."""
    if response.is_success:
        return
    try:
        problem = response.json()
        reason = f"{problem.get('detail') or problem.get('title')} [{problem.get('code')}]"
    except ValueError:
        reason = response.text[:200]
    sys.exit(f"{response.request.method} {response.request.url.path}: {response.status_code} {reason}")


def code_in_log(log: Path, email: str, skip: int) -> str | None:
    """The newest code for the address that the local product's auth service wrote behind byte `skip` of its log."""
    with log.open("rb") as file:
        file.seek(skip)
        text = file.read().decode(errors="replace")
    codes = re.findall(rf"code=(\d{{6}}) email={re.escape(email.lower())}\b", text)
    return codes[-1] if codes else None


def size_of(log: Path) -> int:
    """How long the log is by now."""
    return log.stat().st_size if log.exists() else 0


def find_code(log: Path, email: str, skip: int) -> str:
    """The code, from the log within two seconds, else from the keyboard."""
    deadline = time.monotonic() + 2
    while log.exists() and time.monotonic() < deadline:
        if code := code_in_log(log, email, skip):
            return code
        time.sleep(0.05)
    return input(f"The code that was sent to {email}: ").strip()


async def sign_in(http: httpx2.AsyncClient, email: str, code: str | None, log: Path) -> dict[str, Any]:
    """Tokens for the address."""
    if code is None:
        skip = size_of(log)
        explain(await http.post("/v1/auth/request-code", json={"email": email}))
        code = await asyncio.to_thread(find_code, log, email, skip)
    response = await http.post("/v1/auth/verify-code", json={"email": email, "code": code})
    explain(response)
    tokens: dict[str, Any] = response.json()
    return tokens


async def upload(http: httpx2.AsyncClient, path: Path) -> dict[str, Any]:
    """Send the file; the same content again gives the same document."""
    with path.open("rb") as file:
        response = await http.post(
            "/v1/files",
            files={"file": (path.name, file, "application/pdf")},
            data={"title": path.stem},
            headers={"Idempotency-Key": str(uuid.uuid4())},
            timeout=120,
        )
    explain(response)
    document: dict[str, Any] = response.json()
    return document


async def watch(http: httpx2.AsyncClient, document: dict[str, Any]) -> dict[str, Any]:
    """Follow the document's progress until it is ready or failed."""
    async with http.stream("GET", f"/v1/files/{document['id']}/events", timeout=120) as response:
        if response.is_error:
            await response.aread()
            explain(response)
        async for line in response.aiter_lines():
            if not line.startswith("data:"):
                continue
            document = json.loads(line.removeprefix("data:"))
            print(f"  {document['status']}: {document['pages_done'] or 0} of {document['pages'] or '?'} pages")
            if document["status"] in ("ready", "failed"):
                break
    return document


async def ask(server: str, headers: dict[str, str], question: str, document_id: str) -> dict[str, Any]:
    """Ask over WebSocket; prints the answer as it streams and returns the end frame, with `chat_id` added."""
    address = re.sub(r"^http", "ws", server.rstrip("/")) + "/ws/chat"
    chat_id = ""
    async with connect(address, additional_headers=headers) as socket:
        await socket.send(json.dumps({"message": question, "document_ids": [document_id]}))
        async for message in socket:
            frame = json.loads(message)
            match frame["type"]:
                case "start":
                    chat_id = frame["chat_id"]
                case "delta":
                    print(frame["token"], end="", flush=True)
                case "end":
                    print()
                    return {**frame, "chat_id": chat_id}
                case "error":
                    sys.exit(f"\n{frame['message']} [{frame['code']}]")
    sys.exit("\nThe connection ended before the answer did.")


async def ask_again(http: httpx2.AsyncClient, question: str, chat_id: str) -> dict[str, Any]:
    """Ask by plain HTTP in the same chat."""
    body = {"message": question, "chat_id": chat_id}
    response = await http.post("/v1/chat", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}, timeout=120)
    explain(response)
    answer: dict[str, Any] = response.json()
    return answer


async def show_usage(http: httpx2.AsyncClient) -> None:
    """What was used; the ledger is written within moments of the answer."""
    response = await http.get("/v1/usage")
    explain(response)
    day = response.json()["last_24h"]
    print(f"Used in 24 hours: {day['total_tokens']} tokens ({day['input_tokens']} in, {day['output_tokens']} out, "
          f"{day['embedding_tokens']} embedded), {day['cost']} {day['currency']}")  # fmt: skip


async def run(options: argparse.Namespace) -> None:
    """The whole tour."""
    tenant = {"X-Tenant-ID": options.tenant}
    async with httpx2.AsyncClient(base_url=options.server, headers=tenant, timeout=30) as http:
        print(f"Signing in at {options.server} as {options.email}")
        tokens = await sign_in(http, options.email, options.code, options.auth_log)
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        http.headers.update(bearer)
        me = await http.get("/v1/users/me")
        explain(me)
        print(f"Signed in: {me.json()['email']}, {me.json()['role']} of {me.json()['tenant']['name']}")

        print(f"Uploading {options.document}")
        document = await upload(http, options.document)
        if document["status"] not in ("ready", "failed"):
            document = await watch(http, document)
        if document["status"] == "failed":
            sys.exit(f"Not readable: {document['error']['detail']} [{document['error']['code']}]")
        print(f"Ready: {document['pages']} pages, {document['chunks']} chunks")

        print(f"\n> {options.question}")
        end = await ask(options.server, {**tenant, **bearer}, options.question, document["id"])
        for citation in end["citations"]:
            print(f'  [{citation["number"]}] {citation["title"]}, p. {citation["page"]}: "{citation["quote"][:120]}"')
        print(f"  {end['usage']['total_tokens']} tokens, finished by {end['finish_reason']}")

        print(f"\n> {options.follow_up}")
        answer = await ask_again(http, options.follow_up, end["chat_id"])
        print(answer["message"]["content"])

        found = await http.get("/v1/search", params={"q": options.question, "limit": 3})
        explain(found)
        print("\nBest passages:")
        for result in found.json()["items"]:
            print(f"  {result['title']}, p. {result['page']}, {result['score']:.3f}")
        await show_usage(http)

        if options.clean_up:
            explain(await http.delete(f"/v1/chats/{end['chat_id']}"))
            receipt = await http.delete(f"/v1/files/{document['id']}")
            explain(receipt)
            print(f"Deleted the chat, and the document with {receipt.json()['chunks_deleted']} chunks")
        explain(await http.post("/v1/auth/logout", json={"refresh_token": tokens["refresh_token"]}))
        print("Signed out")


def main() -> None:
    """Parse the command line and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path, nargs="?", default=DEFAULT_DOCUMENT)
    parser.add_argument("--server", default="http://localhost:8000")
    parser.add_argument("--tenant", default="1", help="number or short name")
    parser.add_argument("--email", default="user@example.com")
    parser.add_argument("--code", help="a sign-in code that was requested before")
    parser.add_argument("--auth-log", type=Path, default=AUTH_LOG, help="where a local product writes its codes")
    parser.add_argument("--question", default="How many days of paid leave does every employee have?")
    parser.add_argument("--follow-up", default="When are salaries paid?")
    parser.add_argument("--clean-up", action="store_true", help="delete the chat and the document at the end")
    options = parser.parse_args()
    if not options.document.is_file():
        parser.error(f"there is no file {options.document}")
    try:
        asyncio.run(run(options))
    except httpx2.ConnectError:
        sys.exit(f"{options.server} cannot be reached; is the product running (make run)?")


if __name__ == "__main__":
    main()
