"""Answers as OpenAI's responses: what they are called, what is told again of their requests, and how they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from docuchat_chat.answers.citations import MARKER, NUMBER
from docuchat_chat.answers.domain import Citation
from docuchat_chat.openai_api.domain import name_of
from docuchat_chat.turns.domain import Turn
from docuchat_common.contracts.frames import FinishReason
from docuchat_common.ids import MessageId, TurnId

Status = Literal["in_progress", "completed", "incomplete", "cancelled", "failed"]
IncompleteReason = Literal["max_output_tokens", "content_filter"]

_UNKEPT: Final = "tmp"
"""Stands in the names of what is not stored: they open nothing."""
_ID: Final = re.compile(r"resp_([0-9a-f]{32})([0-9a-f]{32})")
_ITEM: Final = re.compile(r"msg_([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class ResponseId:
    """A turn and its answer; with both in the name neither has to be looked up by the other."""

    turn_id: TurnId
    message_id: MessageId

    def __str__(self) -> str:
        return f"resp_{self.turn_id.hex}{self.message_id.hex}"


def id_of(turn: Turn) -> str:
    """Return what the response is called that a turn is."""
    name = str(ResponseId(turn.id, turn.message_id))
    return name if _is_kept(turn) else name + _UNKEPT


def parse_response_id(name: str) -> ResponseId | None:
    """Return what a name means; None when no response is called so that is stored."""
    match = _ID.fullmatch(name)
    return None if match is None else ResponseId(TurnId(UUID(match[1])), MessageId(UUID(match[2])))


def item_of(message_id: MessageId) -> str:
    """Return what a stored message is called."""
    return f"msg_{message_id.hex}"


def answer_item_of(turn: Turn) -> str:
    """Return what the answer of a turn is called."""
    name = item_of(turn.message_id)
    return name if _is_kept(turn) else name + _UNKEPT


def parse_item(name: str) -> MessageId | None:
    """Return the message that is called so; None when none is that is stored."""
    match = _ITEM.fullmatch(name)
    return None if match is None else MessageId(UUID(match[1]))


def _is_kept(turn: Turn) -> bool:
    return Given.of_fields(turn.given).store


@dataclass(frozen=True, slots=True)
class Given:
    """What is told again of a request, whenever its response is shown."""

    model: str = ""
    """The name by which it was asked; empty where that is not known."""
    instructions: str | None = None
    previous_response_id: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    background: bool = False
    store: bool = True
    user: str | None = None
    safety_identifier: str | None = None

    def name_of(self, turn: Turn) -> str:
        """Return what answered, by its name as a model."""
        if turn.fallback is not None and turn.chatbot_id is None:
            return turn.model
        return self.model or (turn.model if turn.chatbot_id is None else name_of(turn.chatbot_id))

    def to_fields(self) -> dict[str, Any]:
        """Return it as it is stored: what is not as it is without being said."""
        return {name: value for name, value in asdict(self).items() if value != getattr(_NOTHING, name)}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any] | None) -> Given:
        """Return what these fields say; names of another version say nothing."""
        return cls(**{name: value for name, value in (fields or {}).items() if name in cls.__dataclass_fields__})


_NOTHING: Final = Given()


@dataclass(frozen=True, slots=True)
class Mark:
    """Where in a text a citation stands."""

    index: int
    citation: Citation


def marks_of(text: str, citations: Sequence[Citation]) -> list[Mark]:
    """Return each place where a text cites, in the order of the text; a citation that stands nowhere is at the end."""
    by_number = {citation.number: citation for citation in citations}
    marks = [
        Mark(marker.start(), by_number[int(number)])
        for marker in MARKER.finditer(text)
        for number in NUMBER.findall(marker[1])
        if int(number) in by_number
    ]
    placed = {mark.citation.number for mark in marks}
    return marks + [Mark(len(text), citation) for citation in citations if citation.number not in placed]


def status_of(reason: FinishReason) -> Status:
    """Return how a finished answer stands."""
    if reason == "stopped":
        return "cancelled"
    return "completed" if incomplete_reason(reason) is None else "incomplete"


def incomplete_reason(reason: FinishReason) -> IncompleteReason | None:
    """Return why an answer is not whole; None when it is."""
    match reason:
        case "length":
            return "max_output_tokens"
        case "content_filter":
            return "content_filter"
        case _:
            return None
