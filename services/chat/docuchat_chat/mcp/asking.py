"""Questions of assistants: asked as any other, told how far they are, and stopped when the client cancels."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

import orjson
import structlog

from docuchat_chat.mcp.domain import Call, Tell
from docuchat_chat.mcp.ports import RunningCalls
from docuchat_chat.turns.answering import Answer, Answering
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_chat.turns.responding import Turns
from docuchat_common.contracts.frames import EventReader
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TurnId, uuid7

logger = structlog.get_logger()

_TOLD_EVERY: Final = 0.5
"""Seconds between two reports of an answer that is being written."""


class Asking:
    """Asks for tools, and stops what is cancelled."""

    def __init__(self, turns: Turns, running: RunningCalls) -> None:
        self._turns = turns
        self._running = running
        self._stops: set[asyncio.Task[None]] = set()

    async def ask(self, call: Call, question: Question) -> Answer:
        """Return the whole answer. What is refused, or ends it, is raised as `AskService` and the turn raise it."""
        turn_id = TurnId(uuid7())
        if call.name is not None:
            await self._running.note(call.name, turn_id)
        if call.tell is not None:
            await call.tell(0, "Searching the documents")
        asking = asyncio.create_task(self._turns.asking.ask(call.caller, question, turn_id=turn_id))
        try:
            answering = await asyncio.shield(asking)
            if call.name is not None and await self._running.is_cancelled(call.name):
                await self._turns.replay.stop(call.caller, turn_id)
            if call.tell is not None:
                await _follow(answering, call.tell)
            return await answering.result()
        except asyncio.CancelledError:
            if call.ends_with_its_stream:
                # A task of its own: in this one every await would be cancelled as well.
                stop = asyncio.create_task(self._stop(call.caller, asking))
                self._stops.add(stop)
                stop.add_done_callback(self._stops.discard)
            raise

    async def cancel(self, caller: Caller, name: str) -> None:
        """Stop the turn that a call of the caller's waits for; nothing happens where there is none (any more)."""
        turn_id = await self._running.cancel(name)
        if turn_id is not None:
            with suppress(TurnNotFound):  # not begun yet: it is stopped as soon as it is
                await self._turns.replay.stop(caller, turn_id)

    async def close(self) -> None:
        """Wait for the stops that are on their way."""
        await asyncio.gather(*self._stops, return_exceptions=True)

    async def _stop(self, caller: Caller, asking: asyncio.Task[Answering]) -> None:
        try:
            answering = await asking
            await self._turns.replay.stop(caller, answering.turn.id)
        except DocuChatError as error:
            logger.info("mcp.not_stopped", reason=error.code)


async def _follow(answering: Answering, tell: Tell) -> None:
    """Report the passages that were found, then how much is written."""
    reader, written, told_at = EventReader(), 0, 0.0
    async for frames in answering.events(-1):
        for name, data in reader.feed(frames):
            if name == b"sources":
                found = len(orjson.loads(data)["sources"])
                await tell(1, f"Passages found: {found}")
            elif name == b"delta":
                written += len(orjson.loads(data)["token"])
        if written and (now := time.monotonic()) - told_at >= _TOLD_EVERY:
            told_at = now
            await tell(1 + written, f"Writing the answer: {written} characters")
