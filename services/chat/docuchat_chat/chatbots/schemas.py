"""Requests and responses about chatbots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from docuchat_chat.answers.setup import AnswerPolicy
from docuchat_chat.answers.text import Language
from docuchat_chat.chatbots.domain import (
    Colours,
    Config,
    Edit,
    EditedChatbot,
    NewChatbot,
)
from docuchat_chat.chatbots.service import CreatedChatbot
from docuchat_chat.chatbots.version_schemas import ConfigView, PublishedView
from docuchat_common.contracts.chatbots import (
    LONGEST_OVERLAP,
    MOST_ORIGINS,
    OVERLAP,
    IssuedCredentials,
    KeyView,
    Origin,
    publishable_id,
)
from docuchat_common.http.json_body import Flag, Name, StrictBody, Whole
from docuchat_common.ids import CollectionId

MOST_COLLECTIONS: Final = 50
_OPERATION: Final = ("name", "description", "origins", "demo_messages", "tokens_per_month", "tokens_per_visitor")
"""What holds at once, whichever version is live."""


def _prose(text: str) -> str:
    if "\x00" in text:
        raise ValueError("may not hold NUL characters")
    return text


def _distinct(items: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


Prose = Annotated[str, AfterValidator(_prose)]
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$", examples=["#1a73e8"])]
ChatbotName = Annotated[Name, Field(max_length=100)]
Tokens = Annotated[Whole, Field(ge=1, le=10**15)]


class ColoursBody(StrictBody):
    """What a widget is painted with; null leaves it to the widget."""

    accent: Colour | None = None
    background: Colour | None = None
    text: Colour | None = None


class AnswerPolicyBody(StrictBody):
    """What an answer may rest on, and what it keeps silent about."""

    own_knowledge: Flag = Field(
        default=False, description="Whether the model may say what stands in no document; such parts are marked."
    )
    citations_required: Flag = Field(
        default=False, description="Whether an answer that cites nothing is replaced by `nothing_found`."
    )
    refused_subjects: tuple[Annotated[Name, Field(max_length=200)], ...] = Field(default=(), max_length=20)


class ChatbotFields(StrictBody):
    """What can be said of a chatbot."""

    description: Annotated[Prose, Field(max_length=2000)] = ""
    collections: Annotated[tuple[UUID, ...], AfterValidator(_distinct)] = Field(
        default=(), max_length=MOST_COLLECTIONS, description="Collections it answers from besides its own documents."
    )
    system_prompt: Annotated[Prose, Field(max_length=8000)] = ""
    model: Annotated[Name, Field(max_length=100)] | None = Field(
        default=None, description="One that is allowed; null: the installation's default."
    )
    fallback_model: Annotated[Name, Field(max_length=100)] | None = Field(
        default=None, description="Answers when the provider of the first does not; null: no other does."
    )
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_k: Annotated[Whole, Field(ge=1, le=50)] | None = Field(
        default=None, description="How many passages an answer may rest on."
    )
    greeting: Annotated[Prose, Field(max_length=2000)] | None = None
    suggested_questions: tuple[Annotated[Name, Field(max_length=300)], ...] = Field(default=(), max_length=10)
    language: Language | None = Field(default=None, description="Always answered in; null: that of the question.")
    nothing_found: Annotated[Prose, Field(max_length=2000)] | None = Field(
        default=None, description="Said when there is nothing to answer from."
    )
    answer_policy: AnswerPolicyBody = AnswerPolicyBody()
    colours: ColoursBody = ColoursBody()
    origins: Annotated[tuple[Origin, ...], AfterValidator(_distinct)] = Field(
        default=(), max_length=MOST_ORIGINS, description="Of pages that may show it; without any, no page may."
    )
    demo_messages: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = Field(
        default=None, description="A visitor's a month: null as the installation says, 0 no such limit."
    )
    tokens_per_month: Tokens | None = Field(default=None, description="Of all who ask it together; null: no limit.")
    tokens_per_visitor: Tokens | None = Field(default=None, description="Of one visitor a month; null: no limit.")

    @field_validator("greeting", "nothing_found")
    @classmethod
    def _said(cls, text: str | None) -> str | None:
        return text if text is None or text.strip() else None

    def to_config(self) -> Config:
        """Return what stands in it of a version."""
        return Config(**{name: value for name, value in self._values().items() if name not in _OPERATION})

    def _values(self) -> dict[str, Any]:
        """Return domain values by the names of fields."""
        values = {name: getattr(self, name) for name in ChatbotFields.model_fields}
        policy, colours = self.answer_policy, self.colours
        return values | {
            "collections": tuple(map(CollectionId, self.collections)),
            "answer_policy": AnswerPolicy(policy.own_knowledge, policy.citations_required, policy.refused_subjects),
            "colours": Colours(colours.accent, colours.background, colours.text),
        }


class NewChatbotBody(ChatbotFields):
    """A chatbot to create."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Shop", "system_prompt": "You sell shoes.", "origins": ["https://shop.example.com"]}]
        }
    )

    name: ChatbotName
    publish: Flag = Field(default=False, description="Publish the draft at once, as the first version.")

    def to_new(self) -> NewChatbot:
        """Return what is to be made."""
        return NewChatbot(
            name=self.name,
            description=self.description,
            config=self.to_config(),
            origins=self.origins,
            demo_messages=self.demo_messages,
            tokens_per_month=self.tokens_per_month,
            tokens_per_visitor=self.tokens_per_visitor,
            publish=self.publish,
        )


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class ChatbotChanges(ChatbotFields):
    """What is to be changed; what is left out stays as it is."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: ChatbotName = ""
    revision: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Of the chatbot as you read it: 409 `chatbot_changed` when it was edited since."
    )

    def to_edit(self) -> Edit:
        """Return the edit."""
        values = {name: value for name, value in self._values().items() if name in self.model_fields_set}
        if "name" in self.model_fields_set:
            values["name"] = self.name
        return Edit(
            chatbot={name: value for name, value in values.items() if name in _OPERATION},
            draft={name: value for name, value in values.items() if name not in _OPERATION},
            revision=self.revision,
        )


class PublishBody(StrictBody):
    """What is to be published."""

    revision: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Of the draft as you read it: 409 `chatbot_changed` when it was edited since."
    )


class RotateBody(StrictBody):
    """For how long the secret before goes on."""

    overlap_seconds: Annotated[Whole, Field(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] = int(
        OVERLAP.total_seconds()
    )

    @property
    def overlap(self) -> timedelta:
        """As a duration."""
        return timedelta(seconds=self.overlap_seconds)


class ChatbotView(BaseModel):
    """A chatbot; who does not manage chatbots sees the published ones, without what is for who does."""

    id: UUID
    publishable_id: str = Field(
        description="What a page names it by; no secret.", examples=[publishable_id(UUID(int=1))]
    )
    name: str
    description: str
    created_at: datetime
    updated_at: datetime
    published: PublishedView | None = Field(description="What answers; null while nothing does.")
    draft: ConfigView | None = Field(description="What the next version will be. Only for who manages chatbots.")
    has_changes: bool | None = Field(
        description="Whether the draft differs from what is published. Only for who manages chatbots."
    )
    revision: int | None = Field(description="Grows with each edit. Only for who manages chatbots.")
    origins: list[str] | None = Field(description="Of pages that may show it. Only for who manages chatbots.")
    demo_messages: int | None = Field(
        description="A visitor's a month: null as installed, 0 no such limit. Only for who manages chatbots."
    )
    tokens_per_month: int | None = Field(description="Only for who manages chatbots.")
    tokens_per_visitor: int | None = Field(description="Only for who manages chatbots.")

    @classmethod
    def of(cls, edited: EditedChatbot, *, whole: bool = True) -> ChatbotView:
        """Present; `whole` for who manages chatbots."""
        return cls(**_fields_of(edited, whole=whole))


class CreatedChatbotView(ChatbotView):
    """A chatbot with its key."""

    secret_key: str | None = Field(
        repr=False, description="For servers, shown this once: keep it out of pages. null: see `secret_key_withheld`."
    )
    secret_key_withheld: Literal["recent_sign_in_required"] | None = Field(
        description="Why `secret_key` is null: you did not sign in within the last 15 minutes, or asked with an API "
        "key. The chatbot is made; sign in as a user and let `rotate_key` show you a secret."
    )
    key: KeyView | None = Field(description="null: it was revoked; a rotation makes another.")

    @classmethod
    def of_created(cls, created: CreatedChatbot) -> CreatedChatbotView:
        """Present."""
        issued = created.credentials
        return cls(
            **_fields_of(created.edited, whole=True),
            secret_key=issued.secret_key,
            secret_key_withheld="recent_sign_in_required" if created.is_withheld else None,
            key=issued.key,
        )


class RotatedKeyView(BaseModel):
    """A chatbot's key with its new secret."""

    secret_key: str | None = Field(repr=False, description="Shown this once.")
    key: KeyView | None = Field(description="null: it was revoked; a rotation makes another.")

    @classmethod
    def of(cls, issued: IssuedCredentials) -> RotatedKeyView:
        """Present."""
        return cls(secret_key=issued.secret_key, key=issued.key)


def _fields_of(edited: EditedChatbot, *, whole: bool) -> dict[str, Any]:
    chatbot = edited.chatbot
    return {
        "id": chatbot.id,
        "publishable_id": publishable_id(chatbot.id),
        "name": chatbot.name,
        "description": chatbot.description,
        "created_at": chatbot.created_at,
        "updated_at": chatbot.updated_at,
        "published": PublishedView.of(edited.live, whole=whole) if edited.live is not None else None,
        "draft": ConfigView.of(edited.draft) if whole else None,
        "has_changes": edited.has_changes if whole else None,
        "revision": chatbot.revision if whole else None,
        "origins": list(chatbot.origins) if whole else None,
        "demo_messages": chatbot.demo_messages if whole else None,
        "tokens_per_month": chatbot.tokens_per_month if whole else None,
        "tokens_per_visitor": chatbot.tokens_per_visitor if whole else None,
    }
