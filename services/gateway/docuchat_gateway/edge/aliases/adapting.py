"""The bodies of a request at an alias: theirs becomes ours on its way in, and ours becomes theirs on its way out."""

from typing import Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from docuchat_common.errors import DocuChatError
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import bearer_token
from docuchat_common.http.json_body import LONG_BODY
from docuchat_gateway.edge.aliases.alias import Answered, Asked, Exchange


def without_length(scope: Scope) -> None:
    """Say of a request that its body has no known length: it is about to become another."""
    headers = MutableHeaders(raw=list(scope["headers"]))
    if "content-length" in headers:
        del headers["content-length"]
        headers["transfer-encoding"] = "chunked"
    scope["headers"] = headers.raw


class AdaptedBody:
    """Gives the body that was sent as ours. It is read when it is asked for: after whoever sends it was let in."""

    MOST: Final = LONG_BODY
    """A longer one is passed on as it is, to be refused."""

    def __init__(self, receive: Receive, asked: Asked, exchange: Exchange) -> None:
        self._receive = receive
        self._asked = asked
        self._exchange = exchange
        self._is_read = False

    async def __call__(self) -> Message:
        if self._is_read:
            return await self._receive()
        self._is_read = True
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            is_whole = not message.get("more_body", False)
            if is_whole or len(body) > self.MOST:
                break
        return {
            "type": "http.request",
            "body": self._ours(bytes(body)) if is_whole else bytes(body),
            "more_body": not is_whole,
        }

    def _ours(self, body: bytes) -> bytes:
        try:
            sent = orjson.loads(body)
            if not isinstance(sent, dict):
                return body
            self._exchange.sent = sent
            return orjson.dumps(self._asked(dict(sent)))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return body  # the service behind says what is wrong


class AdaptedAnswer:
    """Sends our answer as theirs; refusals, streams and files pass as they are."""

    def __init__(self, answered: Answered, exchange: Exchange, scope: Scope, send: Send) -> None:
        self._answered = answered
        self._exchange = exchange
        self._scope = scope
        self._send = send
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_ours(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._answer(self._start)
        else:
            await self._send(message)

    async def _answer(self, start: Message) -> None:
        self._exchange.identity = await self._identity()
        body = orjson.dumps(self._answered(orjson.loads(self._body), self._exchange))
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        headers.update(self._exchange.headers)
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

    async def _identity(self) -> Identity | None:
        # the scope's own header: in the place of an API key stands a token by now
        try:
            token = bearer_token(Headers(scope=self._scope))
            identity: Identity = await self._scope["app"].state.container.verifier.identify(token)
        except DocuChatError:
            return None
        return identity


def _is_ours(start: Message) -> bool:
    media_type = Headers(raw=list(start.get("headers", ()))).get("content-type", "")
    return 200 <= start["status"] < 300 and media_type.partition(";")[0].strip() == "application/json"
