"""The services behind the gateway, as small real HTTP servers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from docuchat_common.contracts.holds import HoldRequest, HoldView
from docuchat_common.contracts.revisions import PATH as REVISIONS

_NOBODYS_KEY = {  # of RFC 8037, appendix A
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "nobody's",
    "alg": "EdDSA",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
_ASKED_IN_THE_BACKGROUND: dict[str, dict[str, Any]] = {
    REVISIONS: {"items": [], "after": "1"},
    "/.well-known/jwks.json": {"keys": [_NOBODYS_KEY]},
    "/internal/holdings/sums": {"corrected": 0},
    "/internal/holdings": {"items": []},
}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Behind:
    """The services behind: every request but for their health is noted and answered by `answer`, else echoed.

    As usage it holds what is asked for, unless `refuse_hold` says otherwise; as chat it empties two quotes, and has the
    `chatbots`, by (id, tenant).
    """

    url: str = ""
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Answer | None = None
    closed_early: int = 0

    holds: dict[str, Any] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    refuse_hold: web.Response | None = None
    chatbots: dict[tuple[str, str], str] = field(default_factory=dict)

    async def internal(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/forget"):
            return web.json_response({"quotes": 2})
        if request.path.startswith("/internal/chatbots/"):
            name = self.chatbots.get((request.path.rpartition("/")[2], request.query["tenant_id"]))
            return web.json_response({"name": name} if name else {}, status=200 if name else 404)
        if request.method == "DELETE":
            self.released.append(request.path.rsplit("/", 1)[1])
            return web.Response(status=204)
        if self.refuse_hold is not None:
            return self.refuse_hold
        asked = HoldRequest.model_validate_json(await request.read())
        view = HoldView(hold_id=uuid.uuid4(), tokens=0, expires_at=datetime.now(UTC) + asked.lease)
        self.holds[str(view.hold_id)] = asked
        return web.Response(text=view.model_dump_json(), content_type="application/json", status=201)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/readyz" or (self.answer is None and request.path == "/livez"):
            return web.json_response({})
        if request.path in _ASKED_IN_THE_BACKGROUND:
            return web.json_response(_ASKED_IN_THE_BACKGROUND[request.path])
        if request.path.startswith("/internal/"):
            return await self.internal(request)
        self.seen.append(request)
        self.bodies.append(await request.read())
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response({"path": request.raw_path, "method": request.method})


TURN = str(uuid.uuid4())


def event(kind: str, **fields: Any) -> bytes:
    return (
        f"event: {kind}\ndata: ".encode()
        + json.dumps({"type": kind, **fields}, separators=(",", ":")).encode()
        + b"\n\n"
    )


class Chat:
    """Answers like chat: `script` gives the bytes of a turn's stream."""

    def __init__(self, behind: Behind) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.stopped = asyncio.Event()
        self.problem: dict[str, Any] | None = None
        self.script: Any = self.short
        behind.answer = self.answer

    async def short(self) -> AsyncIterator[bytes]:
        yield event("start", turn_id=TURN) + event("sources", sources=[])
        yield b": ping\n\n"
        whole = event("delta", seq=1, token="سلام") + event("delta", seq=2, token=" data: {x}\n\n")
        for place in range(0, len(whole), 7):  # cut anywhere, also within a letter
            yield whole[place : place + 7]
        yield event("end", seq=3)

    async def until_stopped(self) -> AsyncIterator[bytes]:
        yield event("start", turn_id=TURN)
        await self.stopped.wait()
        yield event("end", seq=1, finish_reason="stopped")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.requests.append((request.method, request.raw_path, json.loads(raw) if raw else None))
        if self.problem is not None:
            status = self.problem["status"]
            return web.json_response(self.problem, status=status, headers={"Retry-After": "7"})
        if request.path.endswith("/stop"):
            self.stopped.set()
            return web.json_response({"turn_id": TURN, "state": "stopping"}, status=202)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Turn-ID": TURN})
        await response.prepare(request)
        async for chunk in self.script():
            await response.write(chunk)
        return response
