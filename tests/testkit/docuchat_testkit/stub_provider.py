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
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
from pydantic import TypeAdapter, ValidationError

from docuchat_testkit.provider_answers import (
    Answer,
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
from docuchat_testkit.provider_rules import Call, Counts, Endpoint, Outcome, Rule, Tally
from docuchat_testkit.vocabulary import tiktoken_cache_dir

_RULES = TypeAdapter(list[Rule])
_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "text-embedding-3-small", "text-embedding-3-large")
_DIMENSIONS = {"text-embedding-3-large": 3072}
_MAX_INPUTS = 2048
_MAX_INPUT_TOKENS = 8192
_MAX_REQUEST_TOKENS = 300_000
_MAX_BODY = 64 * 1024 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class _Rejected(Exception):
    """The provider refuses a call."""

    def __init__(self, status: int, message: str, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


@dataclass(slots=True)
class _ArmedRule:
    rule: Rule
    seen: int = 0
    acted: int = 0

    def decides(self, endpoint: Endpoint, model: str, key: str, texts: list[str]) -> bool:
        rule = self.rule
        if rule.times is not None and self.acted >= rule.times:
            return False
        matches = (
            (rule.endpoint is None or rule.endpoint == endpoint)
            and (rule.model is None or rule.model == model)
            and (rule.key is None or rule.key == key)
            and (rule.contains is None or any(rule.contains in text for text in texts))
        )
        if not matches:
            return False
        self.seen += 1
        if rule.nth and self.seen not in rule.nth:
            return False
        self.acted += 1
        return True


@dataclass(slots=True)
class Books:
    """Rules in force, calls and counts."""

    rules: list[_ArmedRule] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def rule_for(self, endpoint: Endpoint, model: str, key: str, texts: list[str]) -> Rule:
        for armed in self.rules:
            if armed.decides(endpoint, model, key, texts):
                return armed.rule
        return Rule()

    def open_call(self, endpoint: Endpoint, body: Mapping[str, Any], key: str, last_message: str) -> Call:
        call = Call(
            index=len(self.calls) + 1,
            endpoint=endpoint,
            model=str(body.get("model", "")),
            key=key,
            user=body.get("user"),
            stream=bool(body.get("stream", False)),
            status=0,
            started_at=time.time(),
            last_message=last_message[-200:],
        )
        self.calls.append(call)
        return call

    def counts(self) -> Counts:
        counts = Counts(by_key={}, by_user={}, by_model={})
        for call in self.calls:
            tallies: list[Tally] = [
                counts,
                counts.by_key.setdefault(call.key, Tally()),
                counts.by_model.setdefault(call.model, Tally()),
            ]
            if call.user is not None:
                tallies.append(counts.by_user.setdefault(call.user, Tally()))
            for tally in tallies:
                tally.calls += 1
                tally.rejected += call.outcome == "rejected"
                tally.prompt_tokens += call.prompt_tokens
                tally.completion_tokens += call.completion_tokens
                tally.embedding_tokens += call.embedding_tokens
        return counts


@dataclass(slots=True)
class _Request:
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = True


class Connection(asyncio.Protocol):
    """One client connection: parses requests, runs one at a time, and waits until what it wrote has left."""

    def __init__(self, serve: Callable[[Connection, _Request], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self._parser = httptools.HttpRequestParser(self)
        self._request = _Request()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's classes, hence no isinstance check.
        self.transport = cast("asyncio.Transport", transport)
        # With no allowance a write counts as flushed only when the kernel has it: that is what "sent" means here.
        self.transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    def pause_writing(self) -> None:
        self._flushed.clear()

    def resume_writing(self) -> None:
        self._flushed.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._request = _Request()

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._request.method = self._parser.get_method().decode("ascii")
        if self._request.headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._request.body += body
        if len(self._request.body) > _MAX_BODY:
            self.transport.close()

    def on_message_complete(self) -> None:
        self._request.keep_alive = self._parser.should_keep_alive()
        task = asyncio.get_running_loop().create_task(self._serve(self, self._request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, data: bytes) -> None:
        """Write and wait until the kernel has taken all of it."""
        self.transport.write(data)
        await self._flushed.wait()
        if self.transport.is_closing():
            raise asyncio.CancelledError

    async def respond(
        self, status: int, payload: Any, headers: Mapping[str, str] | None = None, *, close: bool = False
    ) -> None:
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", f"connection: {'close' if close else 'keep-alive'}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        if close:
            self.transport.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class StubProvider:
    """Serves the protocol over connections; holds the books."""

    def __init__(self, *, batch: int = 32, require_key: bool = True) -> None:
        self.books = Books()
        self._batch = batch
        self._require_key = require_key

    async def serve(self, connection: Connection, request: _Request) -> None:
        path = request.path.partition("?")[0]
        try:
            await self._route(connection, request, path)
        except _Rejected as refusal:
            headers = {} if refusal.retry_after is None else {"retry-after": f"{refusal.retry_after:g}"}
            kind = {401: "invalid_request_error", 429: "requests"}.get(
                refusal.status, "server_error" if refusal.status >= 500 else "invalid_request_error"
            )
            error = {"message": str(refusal), "type": kind, "param": None, "code": refusal.code}
            await connection.respond(refusal.status, {"error": error}, headers, close=not request.keep_alive)

    async def _route(self, connection: Connection, request: _Request, path: str) -> None:
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
                self.books.rules = [_ArmedRule(rule) for rule in rules]
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

    def _caller(self, request: _Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            return key.strip()
        if self._require_key:
            raise _Rejected(401, "You didn't provide an API key.", "invalid_api_key")
        return ""

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

    async def _chat(self, connection: Connection, request: _Request) -> None:
        key = self._caller(request)
        body = _parse_body(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise _Rejected(400, "'messages' must be a non-empty array.", "invalid_messages")
        model, last_message = str(body.get("model", "")), last_user_message(messages)
        rule = self.books.rule_for("chat", model, key, [last_message])
        call = self.books.open_call("chat", body, key, last_message)
        async with self._booked(connection, call, rule):
            encoding = encoding_for(model)
            limit = body.get("max_completion_tokens", body.get("max_tokens"))
            prompt_tokens = count_prompt_tokens(messages, encoding)
            if rule.exact_tokens is not None:
                answer = shorten(filler(rule.exact_tokens), limit)
            else:
                answer = compose(rule.text if rule.text is not None else answer_text(messages), encoding, limit)
            reply = _ChatReply(connection, call, rule, model, prompt_tokens, answer, self._batch)
            if call.stream:
                options = body.get("stream_options") or {}
                await reply.stream(include_usage=bool(options.get("include_usage")), close=not request.keep_alive)
            else:
                await reply.whole(close=not request.keep_alive)

    async def _embeddings(self, connection: Connection, request: _Request) -> None:
        key = self._caller(request)
        body = _parse_body(request)
        model = str(body.get("model", ""))
        encoding = encoding_for(model, embedding=True)
        raw = body.get("input")
        inputs = raw if isinstance(raw, list) and not (raw and isinstance(raw[0], int)) else [raw]
        texts = [text if isinstance(text, str) else _decoded(text, encoding) for text in inputs]
        rule = self.books.rule_for("embeddings", model, key, texts)
        call = self.books.open_call("embeddings", body, key, texts[0] if texts else "")
        async with self._booked(connection, call, rule):
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


def _parse_body(request: _Request) -> dict[str, Any]:
    try:
        body = json.loads(bytes(request.body))
    except ValueError as error:
        raise _Rejected(400, "We could not parse the JSON body of your request.") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise _Rejected(400, "You must provide a model parameter.")
    return body


def _decoded(tokens: Any, encoding: Any) -> str:
    if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
        return str(encoding.decode(tokens))
    return content_text(tokens)


@dataclass(slots=True)
class _ChatReply:
    """One answer on its way out, counted as it leaves."""

    connection: Connection
    call: Call
    rule: Rule
    model: str
    prompt_tokens: int
    answer: Answer
    batch: int
    sent: int = 0

    @property
    def _id(self) -> str:
        return f"chatcmpl-stub{self.call.index:08d}"

    def _usage(self) -> dict[str, Any]:
        completion = self.answer.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    async def whole(self, *, close: bool) -> None:
        rule, call, answer = self.rule, self.call, self.answer
        call.prompt_tokens, call.status = self.prompt_tokens, 200
        delay = rule.first_token_delay + (len(answer.pieces) / rule.rate if rule.rate else 0.0)
        if delay:
            await asyncio.sleep(delay)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        payload = {
            "id": self._id,
            "object": "chat.completion",
            "created": int(call.started_at),
            "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}],
            "usage": self._usage() if rule.usage_frame else None,
        }
        await self.connection.respond(200, payload, close=close)
        call.completion_tokens, call.usage_sent = answer.tokens, rule.usage_frame
        call.outcome = "length" if answer.finish_reason == "length" else "stop"

    async def stream(self, *, include_usage: bool, close: bool) -> None:
        call, rule, answer = self.call, self.rule, self.answer
        head = json.dumps(
            {"id": self._id, "object": "chat.completion.chunk", "created": int(call.started_at), "model": self.model},
            separators=(",", ":"),
        )[:-1]
        tail = ',"usage":null}\n\n' if include_usage else "}\n\n"
        prefix = f'data: {head},"choices":[{{"index":0,"delta":{{"content":'.encode()
        suffix = f'}},"logprobs":null,"finish_reason":null}}]{tail}'.encode()
        call.status, call.prompt_tokens = 200, self.prompt_tokens
        await self.connection.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            b"transfer-encoding: chunked\r\nconnection: " + (b"close" if close else b"keep-alive") + b"\r\n\r\n"
        )
        if rule.first_token_delay:
            await asyncio.sleep(rule.first_token_delay)
        opening = (
            f'data: {head},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"","refusal":null}},'
            f'"logprobs":null,"finish_reason":null}}]{tail}'
        ).encode()
        try:
            await self._send_pieces(opening, prefix, suffix)
        finally:
            # A stream that ended early is counted as its text re-encodes, as any honest reader of it would count.
            if self.sent < len(answer.pieces):
                call.completion_tokens = count_tokens("".join(answer.pieces[: self.sent]), encoding_for(self.model))
            else:
                call.completion_tokens = answer.tokens
        if call.outcome == "cut":
            return
        frames = [f'data: {head},"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"']
        frames.append(f'{answer.finish_reason}"}}]{tail}')
        call.usage_sent = include_usage and rule.usage_frame
        if call.usage_sent:
            frames.append(f'data: {head},"choices":[],"usage":{json.dumps(self._usage())}}}\n\n')
        frames.append("data: [DONE]\n\n")
        await self.connection.send(_chunk("".join(frames).encode()) + b"0\r\n\r\n")
        outcome: Outcome = "length" if answer.finish_reason == "length" else "stop"
        call.outcome = outcome
        if close:
            self.connection.transport.close()

    async def _send_pieces(self, opening: bytes, prefix: bytes, suffix: bytes) -> None:
        rule, fragments = self.rule, self.answer.fragments
        between = suffix + prefix
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self.connection.send(_chunk(opening))
        stops = sorted({s for s in (rule.stall_after, rule.cut_after, rule.malformed_after) if s is not None})
        total = len(fragments)
        while True:
            if self.sent in stops:
                await self._act_at(self.sent, prefix)
                if self.call.outcome == "cut":
                    return
            if self.sent >= total:
                return
            if rule.rate is None:
                # The first token leaves alone, so that the time to it is not the time of a batch.
                upto = min(self.sent + (self.batch if self.sent else 1), total)
            else:
                upto = min(total, max(self.sent, int((clock() - begun) * rule.rate)) + 1)
            upto = min([upto, *(stop for stop in stops if stop > self.sent)])
            frames = prefix + between.join(fragments[self.sent : upto]) + suffix
            await self.connection.send(_chunk(frames))
            if self.call.first_token_at is None:
                self.call.first_token_at = time.time()
            self.sent = upto
            if rule.rate is None:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(max(0.0, begun + self.sent / rule.rate - clock()))

    async def _act_at(self, sent: int, prefix: bytes) -> None:
        rule = self.rule
        if rule.malformed_after == sent:
            await self.connection.send(_chunk(prefix + b'"broken\n\n'))
        if rule.stall_after == sent:
            if rule.stall_seconds is None:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(rule.stall_seconds)
        if rule.cut_after == sent:
            self.call.outcome = "cut"
            # An orderly end of the TCP stream without the last chunk: what was sent does arrive.
            self.connection.transport.close()


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
