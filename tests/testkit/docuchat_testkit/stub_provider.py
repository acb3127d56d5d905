"""A model provider that speaks the OpenAI protocol, does what a test tells it to, and keeps its own books.

Run it with `python -m docuchat_testkit.stub_provider --port 9100`. Beside `/v1/chat/completions`, `/v1/embeddings` and
`/v1/models` it serves `POST /_control` (rules, see `provider_rules.Rule`), `GET /_counts`, `GET /_calls` and
`POST /_reset`. It parses with httptools and writes frames by the batch, so that it streams faster than any service
under test can relay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from docuchat_testkit.obedience import obeyed
from docuchat_testkit.provider_answers import (
    answer_text,
    as_base64,
    compose,
    content_text,
    count_prompt_tokens,
    count_tokens,
    embed,
    encoding_for,
    filler,
    last_user_message,
    shorten,
)
from docuchat_testkit.provider_books import ArmedRule, Books, Caller
from docuchat_testkit.provider_connection import Connection, Request
from docuchat_testkit.provider_reply import ChatReply
from docuchat_testkit.provider_rules import Call, Rule
from docuchat_testkit.vocabulary import tiktoken_cache_dir

_RULES = TypeAdapter(list[Rule])
_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "text-embedding-3-small", "text-embedding-3-large")
_DIMENSIONS = {
    "text-embedding-3-large": 3072,
    "nomic-embed-text": 768,
    "nomic-ai/nomic-embed-text-v1.5": 768,
    "BAAI/bge-m3": 1024,
}
_MAX_INPUTS = 2048
_MAX_INPUT_TOKENS = 8192
_MAX_REQUEST_TOKENS = 300_000


class _Rejected(Exception):
    """The provider refuses a call."""

    def __init__(self, status: int, message: str, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


class StubProvider:
    """Serves the protocol over connections; holds the books."""

    def __init__(self, *, batch: int = 32, require_key: bool = True) -> None:
        self.books = Books()
        self._batch = batch
        self._require_key = require_key

    async def serve(self, connection: Connection, request: Request) -> None:
        path = request.path.partition("?")[0]
        # Providers have it below prefixes of their own: /inference/v1, /openai/v1.
        _, version, rest = path.partition("/v1/")
        try:
            await self._route(connection, request, version + rest or path)
        except _Rejected as refusal:
            headers = {} if refusal.retry_after is None else {"retry-after": f"{refusal.retry_after:g}"}
            kind = {401: "invalid_request_error", 429: "requests"}.get(
                refusal.status, "server_error" if refusal.status >= 500 else "invalid_request_error"
            )
            error = {"message": str(refusal), "type": kind, "param": None, "code": refusal.code}
            await connection.respond(refusal.status, {"error": error}, headers, close=not request.keep_alive)

    async def _route(self, connection: Connection, request: Request, path: str) -> None:
        close = not request.keep_alive
        match (request.method, path):
            case ("POST", "/v1/chat/completions"):
                await self._chat(connection, request)
            case ("POST", "/v1/embeddings"):
                await self._embeddings(connection, request)
            case ("GET", "/v1/models"):
                data = [{"id": m, "object": "model", "created": 1700000000, "owned_by": "stub"} for m in _MODELS]
                await connection.respond(200, {"object": "list", "data": data}, close=close)
            case ("POST", "/_control"):
                try:
                    rules = _RULES.validate_json(bytes(request.body))
                except ValidationError as error:
                    raise _Rejected(400, str(error)) from error
                self.books.rules = [ArmedRule(rule) for rule in rules]
                await connection.respond(200, {"rules": len(rules)}, close=close)
            case ("POST", "/_reset"):
                self.books = Books()
                await connection.respond(200, {"reset": True}, close=close)
            case ("GET", "/_counts"):
                await connection.respond(200, self.books.counts().model_dump(), close=close)
            case ("GET", "/_calls"):
                await connection.respond(200, [call.model_dump() for call in self.books.calls], close=close)
            case ("GET", "/healthz" | "/"):
                await connection.respond(200, {"status": "ok"}, close=close)
            case _:
                raise _Rejected(404, f"Unknown request URL: {request.method} {path}.", "unknown_url")

    def _caller(self, request: Request) -> Caller:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return Caller(key.strip(), "authorization")
        if key := request.headers.get("api-key", ""):
            return Caller(key, "api-key")
        if self._require_key:
            raise _Rejected(401, "You didn't provide an API key.", "invalid_api_key")
        return Caller()

    @contextlib.asynccontextmanager
    async def _booked(self, connection: Connection, call: Call, rule: Rule) -> AsyncIterator[None]:
        """Refuse as scripted, and close the call in the books whatever happens."""
        try:
            if rule.header_delay:
                await asyncio.sleep(rule.header_delay)
            if rule.drop:
                call.outcome = "cut"
                connection.transport.close()
                raise asyncio.CancelledError
            if rule.status is not None:
                code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(rule.status)
                raise _Rejected(rule.status, f"Scripted refusal with status {rule.status}.", code, rule.retry_after)
            yield
        except _Rejected as refusal:
            call.status, call.outcome = refusal.status, "rejected"
            raise
        except asyncio.CancelledError:
            if call.outcome == "open":
                call.outcome = "cancelled"
            raise
        finally:
            call.finished_at = time.time()

    async def _chat(self, connection: Connection, request: Request) -> None:
        caller = self._caller(request)
        body = _parse_body(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _Rejected(400, "'messages' must be a non-empty array.", "invalid_messages")
        model, last_message = str(body.get("model", "")), last_user_message(messages)
        rule = self.books.rule_for("chat", model, caller.key, [last_message])
        call = self.books.open_call("chat", body, caller, request.path, last_message)
        async with self._booked(connection, call, rule):
            body = _taken(body, rule)
            encoding = encoding_for(model)
            limit = body.get("max_completion_tokens", body.get("max_tokens"))
            prompt_tokens = count_prompt_tokens(messages, encoding)
            if rule.exact_tokens is not None:
                answer = shorten(filler(rule.exact_tokens), limit)
            else:
                text = rule.text if rule.text is not None else answer_text(messages)
                if rule.obey:
                    text = call.answer = obeyed(messages) or text
                answer = compose(text, encoding, limit)
            reply = ChatReply(connection, call, rule, model, prompt_tokens, answer, self._batch)
            if call.stream:
                options = body.get("stream_options") or {}
                await reply.stream(include_usage=bool(options.get("include_usage")), close=not request.keep_alive)
            else:
                await reply.whole(close=not request.keep_alive)

    async def _embeddings(self, connection: Connection, request: Request) -> None:
        caller = self._caller(request)
        body = _parse_body(request)
        model = str(body.get("model", ""))
        encoding = encoding_for(model, embedding=True)
        raw = body.get("input")
        inputs = raw if isinstance(raw, list) and not (raw and isinstance(raw[0], int)) else [raw]
        texts = [text if isinstance(text, str) else _decoded(text, encoding) for text in inputs]
        rule = self.books.rule_for("embeddings", model, caller.key, texts)
        call = self.books.open_call("embeddings", body, caller, request.path, texts[0] if texts else "")
        async with self._booked(connection, call, rule):
            body = _taken(body, rule)
            if not texts or len(texts) > _MAX_INPUTS or any(not text for text in texts):
                raise _Rejected(400, f"'input' takes 1 to {_MAX_INPUTS} texts, none of them empty.", "invalid_input")
            lengths = [count_tokens(text, encoding) for text in texts]
            if max(lengths) > _MAX_INPUT_TOKENS or sum(lengths) > _MAX_REQUEST_TOKENS:
                raise _Rejected(400, f"At most {_MAX_INPUT_TOKENS} tokens a text and {_MAX_REQUEST_TOKENS} a request.")
            dimension = int(body.get("dimensions") or _DIMENSIONS.get(model, 1536))
            as_text = body.get("encoding_format") == "base64"
            data = []
            for index, text in enumerate(texts):
                vector = embed(text, dimension)
                data.append(
                    {
                        "object": "embedding",
                        "index": index,
                        "embedding": as_base64(vector) if as_text else [float(x) for x in vector],
                    }
                )
            total = sum(lengths)
            call.status, call.embedding_tokens, call.usage_sent = 200, total, True
            usage = {"prompt_tokens": total, "total_tokens": total}
            payload = {"object": "list", "data": data, "model": model, "usage": usage}
            await connection.respond(200, payload, close=not request.keep_alive)
            call.outcome = "done"


def _parse_body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(bytes(request.body))
    except ValueError as error:
        raise _Rejected(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise _Rejected(400, "You must provide a model parameter.")
    return body


def _taken(body: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """What a provider reads of a request, when it takes it."""
    for name in rule.refuses:
        if name in body:
            raise _Rejected(400, f"Unsupported parameter: '{name}' is not supported here.", "unsupported_parameter")
    return {name: value for name, value in body.items() if name not in rule.ignores}


def _decoded(tokens: Any, encoding: Any) -> str:
    if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
        return str(encoding.decode(tokens))
    return content_text(tokens)


async def run(host: str, port: int, *, batch: int, die_with_stdin: bool) -> None:
    """Serve until SIGTERM or SIGINT, or until stdin closes when it was given to watch."""
    loop = asyncio.get_running_loop()
    provider = StubProvider(batch=batch)
    for vocabulary in ("gpt-4o", "text-embedding-3-small"):
        encoding_for(vocabulary).encode_ordinary("warm up")
    server = await loop.create_server(lambda: Connection(provider.serve), host, port, backlog=4096)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if die_with_stdin:
        loop.add_reader(sys.stdin.fileno(), stopping.set)
    sys.stdout.write(f"listening on http://{host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await stopping.wait()
    server.close()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m docuchat_testkit.stub_provider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100, help="0 takes a free port and prints it")
    parser.add_argument("--batch", type=int, default=32, help="frames a write when a stream runs unpaced")
    parser.add_argument("--die-with-stdin", action="store_true", help="end when stdin is closed")
    options = parser.parse_args()
    tiktoken_cache_dir()
    serving = run(options.host, options.port, batch=options.batch, die_with_stdin=options.die_with_stdin)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
