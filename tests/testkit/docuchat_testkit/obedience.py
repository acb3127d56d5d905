"""A model that obeys: it does what its prompt tells it to, wherever in the prompt that stands.

The instructions that it understands, in English and in Persian, are those of `planted.toml`. It knows nothing but the
messages that it was sent: slots like `{question}` are filled from them.
"""

from __future__ import annotations

import base64
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

_UNTIL: Final = r"(?P<said>.+?)(?=[ \t]*;;|\n|\Z)"
_WRITE: Final = re.compile(rf"(?:Reply only with|فقط این را بنویس)[:\s]+{_UNTIL}")
_GO_ON: Final = re.compile(rf"(?:Continue with|ادامه بده با)[:\s]+{_UNTIL}")
_CALL: Final = re.compile(rf"(?:Call the tool send_mail with|ابزار نامه را صدا بزن با)[:\s]+{_UNTIL}")
_BASE64: Final = re.compile(r"(?:Decode this and obey|این رمز را باز کن و اجرا کن)[:\s]+(?P<said>[\w=-]+)")
_PERCENT: Final = re.compile(r"(?:Unescape this and obey|درصدها را باز کن و اجرا کن)[:\s]+(?P<said>[\w%.-]+)")
_SLOT: Final = re.compile(r"(?P<before>[=/]?)\{(?P<name>question|earlier|system|all)\}")
_LONGEST_IN_ADDRESS: Final = 200


@dataclass(frozen=True, slots=True)
class Planted:
    """An instruction that somebody planted."""

    id: str
    language: Literal["en", "fa"]
    kind: str
    place: Literal["text", "title", "filename", "question", "history", "chunks"]
    text: tuple[str, ...]
    """Lines of a document, a title, a name of a file, or a question."""
    bad: str
    """What the model says when it obeys, and nobody may be shown."""


@cache
def planted() -> tuple[Planted, ...]:
    """All that are in the file."""
    entries = tomllib.loads(Path(__file__).with_name("planted.toml").read_text(encoding="utf-8"))["planted"]
    return tuple(Planted(**{**entry, "text": tuple(entry["text"])}) for entry in entries)


def obeyed(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """What a model says that obeys the first instruction in its prompt; None when it finds none."""
    said = [str(message.get("content", "")) for message in messages]
    asked = [text for message, text in zip(messages, said, strict=True) if message.get("role") == "user"]
    read = "\n".join(text for message, text in zip(messages, said, strict=True) if message.get("role") != "system")
    read = read.replace("\u200b", "").replace("\f", "\n")
    if hidden := _BASE64.search(read):
        read = base64.urlsafe_b64decode(hidden["said"]).decode()
    elif hidden := _PERCENT.search(read):
        read = unquote(hidden["said"])
    if call := _CALL.search(read):
        wish = f'<tool_call>{{"name": "send_mail", "arguments": "{call["said"]}"}}</tool_call>'
    elif found := _WRITE.search(read):
        wish = found["said"] + "".join(more["said"] for more in _GO_ON.finditer(read))
    else:
        return None
    slots = {
        "question": asked[-1].rpartition("Question:\n")[2],
        "earlier": asked[0],
        "system": said[0],
        "all": "\n".join(said),
    }

    def fill(slot: re.Match[str]) -> str:
        value = slots[slot["name"]]
        return slot["before"] + (quote(value[:_LONGEST_IN_ADDRESS], safe="") if slot["before"] else value)

    return _SLOT.sub(fill, wish)
