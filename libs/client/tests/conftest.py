"""A small service in the test's own process, which drops, refuses and lies as it is told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from typer.testing import CliRunner

from docuchat_client import AsyncDocuChat, Credentials, FileCredentials, MemoryCredentials
from docuchat_client.cli import app
from docuchat_testkit.eventually import eventually

TURN, CHAT, MESSAGE, DOCUMENT = (str(uuid.UUID(int=number)) for number in (1, 2, 3, 4))
WORDS = ["Two ", "years ", "[1]", ", said ", "the ", "guide", "."]
NOW = "2026-11-20T12:00:00Z"
USER = {"id": CHAT, "email": "a@example.com", "role": "owner", "tenant": {"id": 1, "slug": "demo", "name": "Demo"}}


def token(name: str, seconds: float = 900) -> str:
    """An unsigned token that tells its end."""
    parts = [{"alg": "none"}, {"sub": name, "exp": time.time() + seconds}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, name])


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
    body = {"type": f"urn:docuchat:{code}", "title": code, "status": status, "code": code, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def document(status: str = "queued", **fields: Any) -> dict[str, Any]:
    plain = {"id": DOCUMENT, "filename": "guide.pdf", "size_bytes": 10, "status": status, "created_at": NOW}
    return {**plain, **fields}


def start_frame() -> dict[str, Any]:
    return {"type": "start", "turn_id": TURN, "chat_id": CHAT, "session_id": "s", "message_id": MESSAGE, "model": "m"}


def sources_frame() -> dict[str, Any]:
    source = {"number": 1, "chunk_id": DOCUMENT, "document_id": DOCUMENT, "title": "Guide", "page": 3, "page_to": 3}
    return {"type": "sources", "sources": [source]}


def end_frame() -> dict[str, Any]:
    citation = {**sources_frame()["sources"][0], "quote": "lasts two years", "score": 0.9}
    usage = {"input_tokens": 40, "output_tokens": 7, "total_tokens": 47, "estimated": False}
    seq = len(WORDS) + 1
    return {
        "type": "end",
        "seq": seq,
        "message_id": MESSAGE,
        "finish_reason": "stop",
        "usage": usage,
        "citations": [citation],
    }


def frames(after: int = 0) -> list[dict[str, Any]]:
    deltas = [{"type": "delta", "seq": n, "token": word} for n, word in enumerate(WORDS, 1) if n > after]
    return [start_frame(), sources_frame(), *deltas, end_frame()]


def sse(items: list[dict[str, Any]]) -> bytes:
    return "".join(f"event: {i['type']}\r\ndata: {json.dumps(i)}\r\n\r\n" for i in items).encode()


@dataclass
class Service:
    """What the service was asked, and what it answers next. `answers` are used up in order, by method and path."""

    url: str = ""
    good_tokens: set[str] = field(default_factory=set)
    refreshes: dict[str, tuple[str, str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    open_paths: set[str] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Callable[[Request], Awaitable[Response]]]] = field(default_factory=dict)
    sockets: list[Callable[[WebSocket, Any], Awaitable[None]]] = field(default_factory=list)
    handshakes: list[Response] = field(default_factory=list)
    doors: list[Callable[[WebSocket], Awaitable[None]]] = field(default_factory=list)
    """What is done with sockets that are accepted and not listened to."""
    heard: list[Any] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Response | Callable[[Request], Awaitable[Response]]) -> None:
        """Answer so, one after the other; the last one for ever."""
        for answer in answers:

            async def give(request: Request, answer: Any = answer) -> Response:
                return answer if isinstance(answer, Response) else await answer(request)

            self.answers.setdefault((method, path), []).append(give)

    def count(self, method: str, path: str) -> int:
        return self.requests.count((method, path))

    def _refused(self, authorization: str | None) -> bool:
        return (authorization or "").removeprefix("Bearer ") not in self.good_tokens

    async def http(self, request: Request) -> Response:
        method, path = request.method, request.url.path
        self.requests.append((method, path))
        self.headers.append(dict(request.headers))
        self.raw.append(await request.body())
        if path == "/v1/auth/refresh":
            tokens = self.refreshes.pop((await request.json())["refresh_token"], None)
            if tokens is None:
                return problem(401, "refresh_invalid", "This refresh token is not valid.")
            self.good_tokens.add(tokens[0])
            return JSONResponse({"access_token": tokens[0], "refresh_token": tokens[1], "expires_in": 900})
        is_open = path.startswith("/v1/auth/") or path in self.open_paths
        if not is_open and self._refused(request.headers.get("authorization")):
            return problem(401, "token_expired", "The access token has expired.")
        answers = self.answers.get((method, path))
        if not answers:
            return problem(404, "not_found", "There is no such object.")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return await answer(request)

    async def websocket(self, socket: WebSocket) -> None:
        self.requests.append(("WS", socket.url.path))
        if self._refused(socket.headers.get("authorization")):
            await socket.send_denial_response(problem(401, "token_expired", "The access token has expired."))
            return
        if self.handshakes:
            await socket.send_denial_response(self.handshakes.pop(0))
            return
        await socket.accept()
        if self.doors:
            await self.doors.pop(0)(socket)
            return
        asked = await socket.receive_json()
        self.heard.append(asked)
        await self.sockets.pop(0)(socket, asked)


def without_id(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages of a client without the names that it gave them."""
    assert all(message["id"] for message in messages)
    return [{name: value for name, value in message.items() if name != "id"} for message in messages]


def sends(items: list[dict[str, Any]], *, drop: bool = False) -> Callable[[WebSocket, Any], Awaitable[None]]:
    """A socket's behaviour: send, then close in order, or drop the connection."""

    async def behave(socket: WebSocket, _: Any) -> None:
        for item in items:
            await socket.send_json(item)
        await socket.close(1011 if drop else 1000)

    return behave


def hangs_up(items: list[dict[str, Any]], code: int, reason: str) -> Callable[[WebSocket], Awaitable[None]]:
    """Send, and close before anything was asked."""

    async def behave(socket: WebSocket) -> None:
        for item in items:
            await socket.send_json(item)
        await socket.close(code, reason)

    return behave


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service(good_tokens={token("good")})
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app = Starlette(routes=[WebSocketRoute("/ws/chat", made.websocket), Route("/{p:path}", made.http, methods=methods)])
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield made
    server.should_exit = True
    await serving


@pytest.fixture
def store(service: Service) -> MemoryCredentials:
    good = next(iter(service.good_tokens))
    return MemoryCredentials(Credentials(server=service.url, tenant="1", access_token=good, refresh_token="r1"))


@pytest.fixture
async def client(service: Service, store: MemoryCredentials) -> AsyncIterator[AsyncDocuChat]:
    async with AsyncDocuChat(service.url, tenant=1, credentials=store, timeout=5) as made:
        yield made


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Command:
    """Runs `docuchat` with a configuration folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DOCUCHAT_")},
            "DOCUCHAT_CONFIG_DIR": str(folder),
            "COLUMNS": "200",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "docuchat_client.cli", *arguments, env=self.environment,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def __call__(self, *arguments: str, text: str = "") -> Done:
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments, text, self.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    async def as_process(self, *arguments: str) -> Done:
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
def signed_out(tmp_path: Path) -> Command:
    return Command(tmp_path / "config")


@pytest.fixture
def docuchat(signed_out: Command, service: Service) -> Command:
    good = next(iter(service.good_tokens))
    credentials = Credentials(
        server=service.url, tenant="1", email="a@example.com", access_token=good, refresh_token="r1"
    )
    FileCredentials(signed_out.folder / "credentials.json").save(credentials)
    return signed_out
