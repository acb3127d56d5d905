"""The stream of a completion, parsed from raw bytes.

Building an object of the SDK for every token costs ten times what orjson does. Of what a provider sends only the text
is needed: a part that is odd is dropped and logged by name, the answer goes on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from docuchat_models.chat import FinishReason, Piece, TokenUsage
from docuchat_models.errors import ProviderInterrupted

logger = structlog.get_logger()

_LONGEST_LINE = 16 * 1024 * 1024
_REASONS: Final[dict[object, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
}
_LONG = 64 * 1024
_MOST_MARKS = 100_000
"""Of JSON, in a frame: what has more holds the event loop for longer than a glance, and is no part of an answer."""
_HALVES = re.compile("[\ud800-\udfff]")
_LARGEST_COUNT = 2**53
"""Counts beyond cannot be meant, nor carried by JSON."""


class StreamParser:
    """Turns the bytes of a completion stream into pieces, one for each read that held text, an end or a figure."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._rest_length = 0
        self._odd: set[str] = set()
        self.started = False
        self.done = False
        self.ended = False
        self.failure: ProviderInterrupted | None = None
        """Set by a broken frame; what stood before it in the same read is returned all the same."""

    def feed(self, data: bytes) -> Piece | None:
        """Take what arrived; returns what it said, None when that was nothing."""
        said = _Said()
        for line in self._lines(data):
            if not line.startswith(b"data:"):
                continue
            payload = line[5:]
            if payload.strip() == b"[DONE]":
                self.done = self.ended = True
                break
            try:
                frame = _decode(payload)
            except ValueError:
                if self.ended:  # nothing of the text can be missing
                    self._drop("frame")
                    continue
                self.failure = ProviderInterrupted(
                    "The model provider sent a broken frame; what came before it is kept."
                )
                break
            if not isinstance(frame, dict):
                self._drop("frame")
                continue
            self.started = True
            self._take(frame, said)
            if frame.get("error") and not self.ended:
                self.failure = ProviderInterrupted("The model provider reported an error in the middle of the answer.")
                break
        return said.piece()

    def read_whole(self, body: bytes) -> Piece | None:
        """Take an answer that came as one JSON object, though a stream was asked for; None when it is none."""
        try:
            completion = _decode(body)
        except ValueError:
            return None
        if not isinstance(completion, dict) or not isinstance(completion.get("choices"), list):
            return None
        said = _Said()
        self._take(completion, said)
        return said.piece() or Piece(finish_reason="stop")

    def _take(self, frame: dict[str, Any], said: _Said) -> None:
        choices = frame.get("choices") or []  # the last frame tells the usage alone
        if not isinstance(choices, list):
            self._drop("choices")
            choices = []
        for choice in choices:
            if not isinstance(choice, dict):
                self._drop("choices")
                continue
            self._text(choice, said)
            if choice.get("finish_reason"):
                self.ended = True
                said.finish_reason = self._reason(choice["finish_reason"])
        if frame.get("usage"):
            said.usage = self._usage(frame["usage"]) or said.usage

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that are whole now; the beginning of the next is kept, as it came, until its end is there."""
        lines = data.split(b"\n")
        if len(lines) == 1:
            self._rest.append(data)
            self._rest_length += len(data)
            if self._rest_length > _LONGEST_LINE:
                self.failure = ProviderInterrupted("The model provider sent a frame without an end.")
            return []
        lines[0] = b"".join((*self._rest, lines[0]))
        last = lines.pop()
        self._rest, self._rest_length = [last], len(last)
        return lines

    def _text(self, choice: dict[str, Any], said: _Said) -> None:
        delta = choice.get("delta") or choice.get("message")
        if not delta:
            return
        if not isinstance(delta, dict):
            self._drop("delta")
            return
        text = delta.get("content") or delta.get("refusal")
        if text:
            self._add(text, said.texts)
        if not text or len(delta) > 1:
            # what a model writes before its answer: not shown, and billed
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if thought:
                self._add(thought, said.thoughts)

    def _add(self, text: object, texts: list[str]) -> None:
        if isinstance(text, str):
            texts.append(text)
        else:
            self._drop("content")

    def _reason(self, said: object) -> FinishReason:
        reason = _REASONS.get(said) if isinstance(said, str) else None
        if reason is None:
            self._drop("finish_reason")
        return reason or "stop"

    def _usage(self, counted: object) -> TokenUsage | None:
        """The provider's figures when both can be meant; else the answer is counted by whoever asked for it."""
        if not isinstance(counted, dict):
            self._drop("usage")
            return None
        asked, answered = (self._count(counted, name) for name in ("prompt_tokens", "completion_tokens"))
        return None if asked is None or answered is None else TokenUsage(asked, answered)

    def _count(self, counted: dict[str, Any], name: str) -> int | None:
        figure = counted.get(name)
        if type(figure) is int and 0 <= figure < _LARGEST_COUNT:
            return figure
        self._drop(f"usage.{name}")
        return None

    def _drop(self, name: str) -> None:
        if name not in self._odd:
            self._odd.add(name)
            logger.warning("provider.odd_answer", part=name)


@dataclass(slots=True)
class _Said:
    """What the frames of one read said."""

    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None

    def piece(self) -> Piece | None:
        if not self.texts and not self.thoughts and self.finish_reason is None and self.usage is None:
            return None
        # PostgreSQL stores no NUL, and no answer needs one.
        text = "".join(self.texts).replace("\x00", "")
        return Piece(text, self.finish_reason, self.usage, thoughts="".join(self.thoughts))


def _decode(payload: bytes) -> object:
    """Parse JSON. Raises ValueError, also for what takes too long."""
    if len(payload) > _LONG and sum(map(payload.count, (b",", b"[", b"{"))) > _MOST_MARKS:
        raise ValueError("too many parts")
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        if len(payload) > _LONG:  # what follows takes fifty times as long
            raise
        # Some providers send NaN, which becomes null, and halves of surrogate pairs, which become U+FFFD.
        try:
            lenient = json.loads(payload, parse_constant=lambda _: None)
            return orjson.loads(_HALVES.sub("\ufffd", json.dumps(lenient, ensure_ascii=False)))
        except RecursionError as error:
            raise ValueError from error
