"""Server-sent events, read from a response as they come."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

from docuchat_client.errors import UnexpectedAnswer, not_docuchat

_MAX_EVENT = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its type, its data, and the place in its stream if it names one."""

    event: str
    data: str
    id: str | None = None

    def json(self) -> dict[str, Any]:
        """The data as a JSON object."""
        try:
            value = json.loads(self.data)
        except ValueError as error:
            raise UnexpectedAnswer("The service sent an event that is not JSON.") from error
        if not isinstance(value, dict):
            raise UnexpectedAnswer("The service sent an event that is not a JSON object.")
        return value


async def read_events(response: httpx2.Response) -> AsyncIterator[ServerSentEvent]:
    """The events of a `text/event-stream` body; an event that was cut off by the end of the body is dropped."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        address = str(response.url.join("/")).rstrip("/")
        raise not_docuchat(address, response.status_code, response.headers)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pending = ""
    event, data, place = "message", list[str](), None
    async for piece in response.aiter_bytes():
        pending += decoder.decode(piece)
        if len(pending) > _MAX_EVENT:
            raise UnexpectedAnswer("The service sent an event that is too large.")
        *lines, pending = pending.split("\n")
        for line in lines:
            text = line.removesuffix("\r")
            if not text:
                if data:
                    yield ServerSentEvent(event, "\n".join(data), place)
                event, data, place = "message", [], None
                continue
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                place = value
