"""The messages of a request: the last one of the user is the question, what was said before is its history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from docuchat_chat.answers.domain import PastMessage
from docuchat_chat.conversations.errors import MessageTooLong
from docuchat_chat.openai_api.errors import InvalidParameter, UnsupportedParameter

_WISHING: Final = frozenset({"system", "developer"})
_KNOWN: Final = frozenset({"role", "content", "name"})


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the messages of a request say."""

    question: str
    history: tuple[PastMessage, ...]
    wishes: str
    """What the messages of the system and the developer say."""


def read_messages(messages: Sequence[Mapping[str, Any]], longest: int) -> Conversation:
    """Return what messages say, each at most `longest` characters, and so their wishes together.

    Raises UnsupportedParameter, InvalidParameter or MessageTooLong, which name the place.
    """
    said: list[PastMessage] = []
    wishes: list[str] = []
    for place, message in enumerate(messages):
        role, text = _read(message, f"messages[{place}]")
        if len(text) > longest:
            raise too_long(f"messages[{place}].content", len(text), longest)
        if role in _WISHING:
            wishes.append(text.strip())
        elif role == "user" or text.strip():
            said.append(PastMessage("user" if role == "user" else "assistant", text))
    if not said or said[-1].role != "user":
        raise InvalidParameter.named("messages", "must end with a message of the user, which is the question")
    wished = "\n\n".join(filter(None, wishes))
    if len(wished) > longest:
        raise too_long("messages", len(wished), longest)
    history = tuple(past for past in said[:-1] if past.content.strip())
    return Conversation(said[-1].content, history, wished)


def read_text(content: Any, place: str, kinds: Collection[str] = ("text",)) -> str:
    """Return the text of a content: a text, or a list of parts of these kinds."""
    if content is None:
        return ""
    if isinstance(content, str):
        return _clean(content)
    if not isinstance(content, list):
        raise InvalidParameter.named(place, "must be a text or a list of parts")
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in kinds:
            raise UnsupportedParameter.named(f"{place}[{number}].type", "send parts of text alone")
        if not isinstance(part.get("text"), str):
            raise InvalidParameter.named(f"{place}[{number}].text", "must be a text")
        texts.append(_clean(part["text"]))
    return "\n".join(texts)


def too_long(place: str, length: int, limit: int) -> MessageTooLong:
    """Return the refusal of a text."""
    return MessageTooLong(f"`{place}` has {length} characters; {limit} are allowed.", limit=limit, param=place)


def _read(message: Mapping[str, Any], place: str) -> tuple[str, str]:
    role = message.get("role")
    if role not in ("user", "assistant", *_WISHING):
        raise UnsupportedParameter.named(f"{place}.role", "it is `user`, `assistant`, `system` or `developer`")
    for name, value in message.items():
        if name not in _KNOWN and value not in (None, [], ""):
            raise UnsupportedParameter.named(f"{place}.{name[:100]}")
    content = message.get("content")
    if content is None and role != "assistant":
        raise InvalidParameter.named(f"{place}.content", "must be a text or a list of parts of text")
    kinds = ("text", "refusal") if role == "assistant" else ("text",)
    return role, read_text(content, f"{place}.content", kinds)


def _clean(text: str) -> str:
    return text.replace("\x00", "")
