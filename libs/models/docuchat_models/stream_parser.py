"""The stream of a completion, parsed from raw bytes.

Building an object of the SDK for every token costs ten times what orjson does. Of what a provider sends only the text
is needed: a part that is odd is dropped and logged by name, the answer goes on.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import structlog

from docuchat_models.chat import Piece, TokenUsage
from docuchat_models.errors import ProviderInterrupted

logger = structlog.get_logger()

_LONGEST_LINE = 16 * 1024 * 1024
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
        texts: list[str] = []
        finish_reason: str | None = None
        usage: TokenUsage | None = None
        for line in self._lines(data):
            if not line.startswith(b"data:"):
                continue
            payload = line[5:]
            if payload.strip() == b"[DONE]":
                self.done = self.ended = True
                break
            try:
                frame = _decode(payload)
            except ProviderInterrupted as failure:
                self.failure = failure
                break
            self.started = True
            for choice in self._objects(frame, "choices"):
                text = self._text(choice)
                if text:
                    texts.append(text)
                reason = choice.get("finish_reason")
                if reason:
                    self.ended = True
                    finish_reason = reason if isinstance(reason, str) else self._drop("finish_reason", "stop")
            if frame.get("usage"):
                usage = self._usage(frame["usage"])
            if frame.get("error"):
                self.failure = ProviderInterrupted("The model provider reported an error in the middle of the answer.")
                break
        if not texts and finish_reason is None and usage is None:
            return None
        # PostgreSQL stores no NUL, and no answer needs one.
        return Piece("".join(texts).replace("\x00", ""), finish_reason, usage)

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

    def _objects(self, frame: dict[str, Any], name: str) -> list[dict[str, Any]]:
        found = frame.get(name) or ()
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            self._drop(name)
            return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        return found

    def _text(self, choice: dict[str, Any]) -> str | None:
        delta = choice.get("delta")
        if not delta:
            return None
        if not isinstance(delta, dict):
            self._drop("delta")
            return None
        text = delta.get("content") or delta.get("refusal")
        if text and not isinstance(text, str):
            self._drop("content")
            return None
        return text or None

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

    def _drop(self, name: str, instead: str | None = None) -> str | None:
        if name not in self._odd:
            self._odd.add(name)
            logger.warning("provider.odd_answer", part=name)
        return instead


def _decode(payload: bytes) -> dict[str, Any]:
    try:
        frame = orjson.loads(payload)
    except orjson.JSONDecodeError:
        try:
            # orjson refuses half a surrogate pair, which some providers send; the half becomes U+FFFD.
            frame = orjson.loads(json.dumps(json.loads(payload), ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise ProviderInterrupted("The model provider sent a broken frame; what came before it is kept.") from error
    if not isinstance(frame, dict):
        raise ProviderInterrupted("The model provider sent a broken frame; what came before it is kept.")
    return frame
