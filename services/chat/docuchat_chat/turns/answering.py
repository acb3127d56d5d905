"""What a caller can do with a turn: listen to it, or wait for its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from docuchat_chat.answers.citations import with_names
from docuchat_chat.chatbots.versions import live_collections
from docuchat_chat.conversations.domain import Message
from docuchat_chat.turns.domain import MESSAGE_STATUS, Outcome, Turn, TurnState, metadata_of
from docuchat_chat.turns.errors import AnswerInterrupted, error_of, final
from docuchat_chat.turns.frames import delta_frames, opening_frame, terminal_frame
from docuchat_chat.turns.live import FRAMES_AT_ONCE, LiveTurn
from docuchat_chat.turns.ports import TurnsTx
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.metering import Used


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished turn with its stored message."""

    turn: Turn
    message: Message


class Followed(Protocol):
    """A turn that is listened to from its beginning, wherever it runs."""

    @property
    def turn(self) -> Turn:
        """The turn as it was begun."""
        ...

    def texts(self) -> AsyncIterator[Sequence[str]]:
        """Return the texts of all deltas, until the last one: then `result` says how it ended."""
        ...

    async def result(self) -> Answer:
        """Wait for the end; raises what ended the turn when it was not the model."""
        ...


class Answering(Followed, Protocol):
    """A turn that can be listened to or waited for."""

    def events(self, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after` (-1: all), until the last one."""
        ...

    def stop(self) -> None:
        """End it here, if it still runs: nobody is going to read it."""
        ...


async def readable_turn(tx: TurnsTx, caller: Caller, turn: Turn) -> Turn:
    """Return a turn whose sources are named as far as the caller may see them now, as of `readable`."""
    if not turn.sources:
        return turn
    documents = {source.passage.document_id for source in turn.sources}
    names = await tx.search.names(caller.tenant_id, list(documents))
    if turn.chatbot_id is not None and len(names) < len(documents):
        shared = await live_collections(tx.chatbots, caller.tenant_id, turn.chatbot_id)
        names |= await tx.search.names(caller.tenant_id, list(documents - names.keys()), shared)
    return replace(turn, sources=with_names(turn.sources, names))


class LiveAnswering:
    """Listens to a turn of this process."""

    def __init__(self, live: LiveTurn, again: Turn | None = None) -> None:
        """`again`: the turn as somebody may see it who comes back to it."""
        self._live = live
        self._again = again

    @property
    def turn(self) -> Turn:
        """The turn as it was begun."""
        return self._live.turn

    def events(self, after: int) -> AsyncIterator[bytes]:
        """Return the frames after number `after`."""
        if after < 0 and self._again is not None:
            return self._from_the_opening(self._again)
        return self._live.log.read(after)

    def texts(self) -> AsyncIterator[Sequence[str]]:
        """Return the texts of all deltas."""
        return self._live.log.read_texts()

    async def result(self) -> Answer:
        """Wait for the end."""
        await self._live.finished.wait()
        outcome = self._live.outcome
        if outcome is None:
            assert self._live.failure is not None  # a finished turn has an outcome or a failure
            failure, turn = self._live.failure, self._live.turn
            if turn.has_key and isinstance(failure, AnswerInterrupted):
                failure = final(failure)
            raise with_turn(failure, turn)
        return answer_of(self._live.turn, outcome)

    def stop(self) -> None:
        """End it here, if it still runs."""
        self._live.stop()

    async def _from_the_opening(self, turn: Turn) -> AsyncIterator[bytes]:
        yield opening_frame(turn)
        async for frames in self._live.log.read(0):
            yield frames


class StoredTurn:
    """A finished turn and how it ended."""

    def __init__(self, turn: Turn, message: Message) -> None:
        self._turn = turn
        self._outcome = stored_outcome(turn, message)

    @property
    def turn(self) -> Turn:
        """The turn."""
        return self._turn

    def stop(self) -> None:
        """It has ended."""

    def frames(self) -> list[bytes]:
        """Return all frames, exactly as they were sent."""
        deltas = delta_frames(self._turn.id, self._outcome.text, self._turn.frame_lengths)
        return [opening_frame(self._turn), *deltas, terminal_frame(len(deltas) + 1, self._turn, self._outcome)]

    async def events(self, after: int) -> AsyncIterator[bytes]:
        """Yield the frames after number `after`; who saw more than was kept is told where that ends, by the last."""
        frames = self.frames()
        for start in range(min(after + 1, len(frames) - 1), len(frames), FRAMES_AT_ONCE):
            yield b"".join(frames[start : start + FRAMES_AT_ONCE])

    async def texts(self) -> AsyncIterator[Sequence[str]]:
        """Yield the texts of all deltas."""
        start, texts = 0, []
        for length in self._turn.frame_lengths:
            texts.append(self._outcome.text[start : start + length])
            start += length
        yield texts

    async def result(self) -> Answer:
        """Return the answer, or raise what it had ended with."""
        return answer_of(self._turn, self._outcome)


def answer_of(turn: Turn, outcome: Outcome) -> Answer:
    """Return a settled turn's answer, the same each time; raises what ended it when that was not the model."""
    if outcome.state in (TurnState.INTERRUPTED, TurnState.FAILED):
        error = error_of(outcome.error_code, outcome.error_message, outcome.retry_after_seconds)
        is_final = turn.has_key and outcome.state is TurnState.INTERRUPTED
        raise with_turn(final(error) if is_final else error, turn)
    message = Message(
        id=turn.message_id,
        chat_id=turn.chat_id,
        seq=0,
        role="assistant",
        content=outcome.text,
        citations=outcome.citations,
        usage=outcome.usage or Used(0),
        model=turn.model,
        status=MESSAGE_STATUS[outcome.state],
        metadata=metadata_of(turn, outcome),
        created_at=outcome.finished_at,
        parent_id=turn.user_message_id,
    )
    return Answer(turn, message)


def stored_outcome(turn: Turn, message: Message) -> Outcome:
    """Return how a stored turn ended."""
    return Outcome(
        state=turn.state,
        text=message.content,
        frame_lengths=turn.frame_lengths,
        finish_reason=turn.finish_reason or "stop",
        usage=turn.usage,
        finished_at=message.created_at,
        citations=message.citations,
        not_cited=tuple(message.metadata.get("not_cited", [])),
        own_knowledge=tuple(message.metadata.get("own_knowledge", [])),
        error_code=turn.error_code,
        error_message=turn.error_message,
        retry_after_seconds=turn.retry_after_seconds,
    )


def with_turn(error: DocuChatError, turn: Turn) -> DocuChatError:
    """Name the turn in a problem, so that the caller can find what was kept of the answer."""
    error.extensions.setdefault("turn_id", str(turn.id))
    error.extensions.setdefault("chat_id", str(turn.chat_id))
    error.extensions.setdefault("message_id", str(turn.message_id))
    return error
