"""Models as others name them: what may be asked, chatbots among it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from docuchat_common.contracts.chatbots import parse_chatbot_id
from docuchat_common.ids import ChatbotId

CHATBOT_PREFIX: Final = "chatbot/"


@dataclass(frozen=True, slots=True)
class Model:
    """What may be asked, under the name that requests have for it."""

    id: str
    name: str
    kind: Literal["model", "chatbot", "embedding"]
    owned_by: str
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request means by its model: a chatbot, or a model by its name."""

    id: str
    """Its one name."""
    model: str = ""
    chatbot_id: ChatbotId | None = None


def asked_by(name: str) -> Asked:
    """Return what a name means: `chatbot/<id>`, the id or the publishable id of a chatbot, or else a model."""
    chatbot_id = parse_chatbot_id(name.removeprefix(CHATBOT_PREFIX))
    if chatbot_id is None:
        return Asked(name, name)
    return Asked(name_of(ChatbotId(chatbot_id)), chatbot_id=ChatbotId(chatbot_id))


def name_of(chatbot_id: ChatbotId) -> str:
    """Return what a chatbot is called as a model."""
    return f"{CHATBOT_PREFIX}{chatbot_id}"
