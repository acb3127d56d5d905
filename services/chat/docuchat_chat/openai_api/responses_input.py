"""The input of a response: its question, what was said before, and the stored answer that it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from docuchat_chat.answers.domain import PastMessage
from docuchat_chat.openai_api.errors import InvalidParameter, UnsupportedParameter
from docuchat_chat.openai_api.messages import read_text, too_long
from docuchat_chat.openai_api.responses import parse_item
from docuchat_common.ids import MessageId

_WISHING: Final = frozenset({"system", "developer"})
_KNOWN: Final = frozenset({"type", "role", "content", "id", "status", "phase"})
_PARTS: Final = ("input_text", "output_text", "text")


@dataclass(frozen=True, slots=True)
class Input:
    """What the items of an input say."""

    question: str
    history: tuple[PastMessage, ...]
    """What was said before, behind the answer that is referred to."""
    wishes: str
    """What the system and the developer say."""
    reference: MessageId | None = None
    """The last stored answer that is referred to: what was said up to it is in its chat."""


def read_input(given: str | Sequence[Mapping[str, Any]], instructions: str, longest: int) -> Input:
    """Return what an input says, each text at most `longest` characters, and so the wishes together.

    Raises UnsupportedParameter, InvalidParameter or MessageTooLong, which name the place.
    """
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    said: list[PastMessage] = []
    wishes = [instructions.strip()]
    reference: MessageId | None = None
    for number, item in enumerate(items):
        place = "input" if isinstance(given, str) else f"input[{number}]"
        if item.get("type") == "item_reference":
            reference = _referred(item, place)
            said.clear()  # it is in the chat of what is referred to
            continue
        role, text = _read(item, place)
        if len(text) > longest:
            raise too_long(place, len(text), longest)
        if role in _WISHING:
            wishes.append(text.strip())
        elif role == "user" or text.strip():
            said.append(PastMessage("user" if role == "user" else "assistant", text))
    if not said or said[-1].role != "user":
        raise InvalidParameter.named("input", "must end with a message of the user, which is the question")
    wished = "\n\n".join(filter(None, wishes))
    if len(wished) > longest:
        raise too_long("instructions", len(wished), longest)
    return Input(said[-1].content, tuple(said[:-1]), wished, reference)


def _referred(item: Mapping[str, Any], place: str) -> MessageId:
    name = item.get("id")
    message_id = parse_item(name) if isinstance(name, str) else None
    if message_id is None:
        raise InvalidParameter.named(f"{place}.id", "is not the id of an answer of this API")
    return message_id


def _read(item: Mapping[str, Any], place: str) -> tuple[str, str]:
    if item.get("type", "message") != "message":
        raise UnsupportedParameter.named(f"{place}.type", "send messages, or references to answers of this API")
    role = item.get("role")
    if role not in ("user", "assistant", *_WISHING):
        raise UnsupportedParameter.named(f"{place}.role", "it is `user`, `assistant`, `system` or `developer`")
    for name, value in item.items():
        if name not in _KNOWN and value not in (None, [], ""):
            raise UnsupportedParameter.named(f"{place}.{name[:100]}")
    if item.get("content") is None:
        raise InvalidParameter.named(f"{place}.content", "must be a text or a list of parts of text")
    return role, read_text(item["content"], f"{place}.content", _PARTS)
