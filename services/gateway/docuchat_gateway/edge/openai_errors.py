"""Refusals in OpenAI's words, at the paths whose clients are theirs: whoever refuses, gateway or service."""

from typing import Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docuchat_common.contracts.frames import write_event
from docuchat_common.contracts.openai_errors import ResponseErrorEvent, openai_error, openai_status
from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import PROBLEM_JSON, status_of
from docuchat_gateway.documents.spoken import FILE_CONTENT_PATH, FILE_PATH, speaks_openai
from docuchat_gateway.edge.table import TABLE

_RELAYED: Final = tuple(dict.fromkeys(row.path for row in TABLE if row.speaks == "openai"))
SPOKEN: Final = (*_RELAYED, FILE_PATH, FILE_CONTENT_PATH)
"""The paths."""
_PATTERNS: Final = [compile_path(row.route)[0] for row in TABLE if row.speaks == "openai"]
_BEGINNINGS: Final = tuple({path.partition("{")[0] for path in _RELAYED})
_LONGEST_WAIT: Final = 60
"""Seconds. Their clients wait for no longer before they try again."""


def openai_broken_off(error: DocuChatError, **more: str) -> bytes:
    """The event that tells their clients that a stream ended early."""
    extensions = {**more, **error.extensions}
    told = openai_error(status_of(error), error.code, error.detail, extensions)
    return b"data: %b\n\n" % orjson.dumps({"error": told}, default=str)


def response_broken_off(error: DocuChatError, **more: str) -> bytes:
    """As `openai_broken_off`, in a stream of events that have types."""
    told = openai_error(status_of(error), error.code, error.detail, {**more, **error.extensions})
    return write_event(b"error", ResponseErrorEvent.of(told, -1).model_dump_json(fallback=str).encode())


class OpenAIErrors:
    """Takes each problem on its way out for an error of theirs; whatever else passes as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_spoken(scope) or _may_turn_out(scope):
            send = _Retelling(scope, send)
        await self._app(scope, receive, send)


def _is_spoken(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    if speaks_openai(scope):
        return True
    return path.startswith(_BEGINNINGS) and any(pattern.match(path) for pattern in _PATTERNS)


def _may_turn_out(scope: Scope) -> bool:
    """Whether it is told by the request's form, which is not read yet, in whose words to answer."""
    return (scope["type"], scope.get("method"), scope.get("path")) == ("http", "POST", "/v1/files")


class _Retelling:
    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()
        self._length = -1

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_problem(message) and _is_spoken(self._scope):
            self._start = message
            self._length = int(Headers(raw=list(message["headers"])).get("content-length", -1))
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            more = message.get("more_body", False)
            # an early refusal is told before the line is emptied
            if not more or len(self._body) == self._length:
                start, self._start = self._start, None
                await self._tell(start, more)
        else:
            await self._send(message)

    async def _tell(self, start: Message, more: bool) -> None:
        problem = orjson.loads(self._body)
        error = openai_error(start["status"], problem["code"], problem["detail"], problem)
        body = orjson.dumps({"error": error})
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"] = "application/json"
        headers["content-length"] = str(len(body))
        wait = headers.get("retry-after", "")
        if (start["status"] == 409 and not wait) or (wait.isdecimal() and int(wait) > _LONGEST_WAIT):
            headers["x-should-retry"] = "false"  # it would end in the same way
        await self._send({**start, "status": openai_status(start["status"]), "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _is_problem(start: Message) -> bool:
    media_type = Headers(raw=list(start.get("headers", ()))).get("content-type", "")
    return start["status"] >= 400 and media_type.partition(";")[0].strip() == PROBLEM_JSON
