"""Chatbots: what answers is a version, made of the draft by publishing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, Literal, NewType
from uuid import UUID

from docuchat_chat.answers.setup import AnswerPolicy
from docuchat_chat.answers.text import Language
from docuchat_common.ids import ChatbotId, CollectionId, TenantId

NoteId = NewType("NoteId", UUID)

DRAFT: Final = 0
"""The number of the draft, beside those of versions, which begin with 1."""
Which = int | Literal["draft"]
"""A version by its number, or the draft."""


@dataclass(frozen=True, slots=True)
class Colours:
    """What a widget is painted with, each as `#rrggbb`; None leaves it to the widget."""

    accent: str | None = None
    background: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """All that a version says; None leaves a thing as it is without a chatbot."""

    collections: tuple[CollectionId, ...] = ()
    """Answered from besides the chatbot's own."""
    system_prompt: str = ""
    model: str | None = None
    fallback_model: str | None = None
    """Answers when the provider of the first is down; None: none does."""
    temperature: float | None = None
    top_k: int | None = None
    language: Language | None = None
    nothing_found: str | None = None
    answer_policy: AnswerPolicy = field(default_factory=AnswerPolicy)
    greeting: str | None = None
    suggested_questions: tuple[str, ...] = ()
    colours: Colours = field(default_factory=Colours)


@dataclass(frozen=True, slots=True)
class Version:
    """A published configuration, which never changes; the draft as if it were one has the number DRAFT."""

    chatbot_id: ChatbotId
    number: int
    config: Config
    created_at: datetime
    restored_from: int | None = None
    """The version that it is equal to."""

    @property
    def collections(self) -> tuple[CollectionId, ...]:
        """All that it answers from: the chatbot's own, which has the chatbot's id, and those that it names."""
        return (CollectionId(self.chatbot_id), *self.config.collections)


@dataclass(frozen=True, slots=True)
class Chatbot:
    """A chatbot without what it says: what holds at once, whichever version is live."""

    id: ChatbotId
    tenant_id: TenantId
    name: str
    description: str
    revision: int
    last_version: int
    live_version: int | None
    origins: tuple[str, ...]
    """Of pages that may show it; none admits no page."""
    demo_messages: int | None
    """A visitor's a month; None as the installation says, 0 for no such limit."""
    tokens_per_month: int | None
    tokens_per_visitor: int | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewChatbot:
    """A chatbot that is to be made."""

    name: str
    description: str = ""
    config: Config = field(default_factory=Config)
    origins: tuple[str, ...] = ()
    demo_messages: int | None = None
    tokens_per_month: int | None = None
    tokens_per_visitor: int | None = None
    publish: bool = False
    """Whether its draft is to be the first version at once."""


@dataclass(frozen=True, slots=True)
class EditedChatbot:
    """A chatbot as who manages it sees it."""

    chatbot: Chatbot
    draft: Config
    live: Version | None

    @property
    def has_changes(self) -> bool:
        """Whether the draft says something else than what is live."""
        return self.live is None or self.live.config != self.draft


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be changed, by the names of fields of Chatbot and of Config."""

    chatbot: Mapping[str, Any]
    draft: Mapping[str, Any]
    revision: int | None = None
    """The one that the editor has seen; None changes whatever is there."""


@dataclass(frozen=True, slots=True)
class Untold:
    """A note that auth may know something else of a chatbot than is true."""

    id: NoteId
    tenant_id: TenantId
    chatbot_id: ChatbotId


@dataclass(frozen=True, slots=True)
class Change:
    """A field in which two versions differ."""

    field: str
    before: Any
    after: Any


def changes_between(before: Config, after: Config) -> list[Change]:
    """Return what differs, field by field, in the order of the fields."""
    pairs = [(each.name, getattr(before, each.name), getattr(after, each.name)) for each in fields(Config)]
    return [Change(name, old, new) for name, old, new in pairs if old != new]
