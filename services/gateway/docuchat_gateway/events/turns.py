"""A turn of a user, followed at chat wherever it runs, across restarts of chat."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import aiohttp
import orjson

from docuchat_common.contracts.frames import LAST_FRAMES, EventReader, dump_frame, error_frame
from docuchat_common.errors import NotFound, RateLimited, UpstreamUnavailable
from docuchat_common.http.client import error_from_response
from docuchat_gateway.events.cursor import after
from docuchat_gateway.events.ports import Chat

_PAUSE: Final = 1.0
"""Seconds until chat is asked again."""


class Turns:
    """What one user's stream asks chat."""

    def __init__(self, chat: Chat, headers: Mapping[str, str], patience: timedelta) -> None:
        """`headers` say who asks; `patience` is chat's longest silence."""
        self._chat = chat
        self._headers = headers
        self._patience = patience

    async def follow(self, turn_id: UUID, count: int) -> AsyncIterator[tuple[bytes, bytes]]:
        """The events of a turn behind the first `count`, each once, until its last; name and data.

        Of a turn that is not there any more it is an `error`. Raises what chat refuses besides.
        """
        while True:
            try:
                number, skipped = after(count)
                async with await self._get(f"/v1/turns/{turn_id}/events?after={number}") as response:
                    reader = EventReader()
                    async for chunk in response.content.iter_any():
                        for name, data in reader.feed(chunk):
                            if skipped:
                                skipped -= 1
                                continue
                            count += 1
                            yield name, data
                            if name in LAST_FRAMES:
                                return
            except NotFound as gone:
                yield b"error", dump_frame(error_frame(gone, turn_id=turn_id))
                return
            except (UpstreamUnavailable, RateLimited, aiohttp.ClientError, TimeoutError, OSError):
                pass  # it goes on, or ends, when chat is back
            await asyncio.sleep(_PAUSE)

    async def chat(self, chat_id: UUID) -> dict[str, Any] | None:
        """A chat as its list shows it; None when it is not there, or chat does not answer: then a page's next look."""
        try:
            async with await self._get(f"/v1/chats/{chat_id}?limit=1") as response:
                found: dict[str, Any] = orjson.loads(await response.read())
        except (NotFound, UpstreamUnavailable, aiohttp.ClientError, TimeoutError, OSError):
            return None
        return {name: value for name, value in found.items() if name not in ("messages", "next_cursor")}

    async def _get(self, target: str) -> aiohttp.ClientResponse:
        response = await self._chat.send("GET", target, headers=self._headers, body=None, patience=self._patience)
        if response.status >= 400:
            async with response:
                raise error_from_response(response.status, await response.read(), response.headers, "chat")
        return response
