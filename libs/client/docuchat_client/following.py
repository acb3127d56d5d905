"""Everything that happens to a user, as one stream that goes on where it was left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import httpx2

from docuchat_client.calls import Calls
from docuchat_client.chat_models import Ticket, UserEvent
from docuchat_client.errors import (
    ConnectionFailed,
    DocuChatError,
    RateLimited,
    ServiceUnavailable,
    Unauthenticated,
    error_from_frame,
)
from docuchat_client.sse import read_events
from docuchat_client.transport import backoff

_PATH: Final = "/v1/events"
_SILENCE_SECONDS: Final = 60.0
_ATTEMPTS: Final = 6


class Following(Calls):
    """The part of a client that is told what happens."""

    async def events(self, *, since: str | None = None) -> AsyncGenerator[UserEvent, None]:
        """What happens to the own documents and answers, for ever; behind the event `since`, else from now on.

        A stream that ends or drops is opened again behind the last event, without a gap or a repetition; where the
        service lost some, `reset` says that what is shown must be loaded anew.
        """
        failures = 0
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": since} if since else {})
            timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=5.0, pool=None)
            try:
                async with self._transport.stream("GET", _PATH, headers=headers, timeout=timeout) as response:
                    async for sent in read_events(response):
                        event = UserEvent(id=sent.id, type=sent.event, data=sent.json())
                        if event.type == "error" and event.turn_id is None:
                            raise error_from_frame(event.data)
                        failures, since = 0, event.id or since
                        yield event
            except (ConnectionFailed, ServiceUnavailable, RateLimited, Unauthenticated) as error:
                failures += 1
                if failures >= _ATTEMPTS or not _passes(error) or not await self._transport.wait_out(error, failures):
                    raise
            else:
                await asyncio.sleep(backoff(0))

    async def events_ticket(self) -> Ticket:
        """What opens the stream once in a browser, whose EventSource sends no header."""
        return await self._get(Ticket, "POST", f"{_PATH}/tickets")


def _passes(error: DocuChatError) -> bool:
    """Whether to open the stream again: a token that ended in mid-stream is renewed then, one refused there is not."""
    return not (isinstance(error, Unauthenticated) and error.status is not None)
