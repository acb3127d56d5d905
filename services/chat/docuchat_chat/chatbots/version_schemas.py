"""What versions of chatbots look like in answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from docuchat_chat.answers.text import Language
from docuchat_chat.chatbots.domain import Config, Version, changes_between

WhichPath = Literal["draft"] | Annotated[int, Field(ge=1, le=2**31 - 1)]


class ColoursView(BaseModel):
    """What a widget is painted with; null leaves it to the widget."""

    accent: str | None
    background: str | None
    text: str | None


class AnswerPolicyView(BaseModel):
    """What an answer may rest on, and what it keeps silent about."""

    own_knowledge: bool
    citations_required: bool
    refused_subjects: list[str]


class ConfigView(BaseModel):
    """All that a version says."""

    model_config = ConfigDict(from_attributes=True)

    collections: list[UUID]
    system_prompt: str
    model: str | None
    fallback_model: str | None
    temperature: float | None
    top_k: int | None
    greeting: str | None
    suggested_questions: list[str]
    language: Language | None
    nothing_found: str | None
    answer_policy: AnswerPolicyView
    colours: ColoursView

    @classmethod
    def of(cls, config: Config) -> ConfigView:
        """Present."""
        return cls.model_validate(config, from_attributes=True)


class VersionView(BaseModel):
    """A published version, which never changes."""

    chatbot_id: UUID
    version: int = Field(description="From 1; 0 is the draft.")
    created_at: datetime
    restored_from: int | None = Field(description="The version that it was restored from.")
    config: ConfigView

    @classmethod
    def of(cls, version: Version) -> VersionView:
        """Present."""
        return cls(
            chatbot_id=version.chatbot_id,
            version=version.number,
            created_at=version.created_at,
            restored_from=version.restored_from,
            config=ConfigView.of(version.config),
        )


class ChangeView(BaseModel):
    """A field in which two versions differ."""

    field: str
    before: JsonValue
    after: JsonValue


class ChangesView(BaseModel):
    """How one version differs from another."""

    from_version: int = Field(description="0 is the draft.")
    to_version: int
    changes: list[ChangeView]

    @classmethod
    def of(cls, before: Version, after: Version) -> ChangesView:
        """Present."""
        old, new = (ConfigView.of(each.config).model_dump(mode="json") for each in (before, after))
        return cls(
            from_version=before.number,
            to_version=after.number,
            changes=[
                ChangeView(field=change.field, before=old[change.field], after=new[change.field])
                for change in changes_between(before.config, after.config)
            ],
        )


class PublishedView(BaseModel):
    """What answers, as all who may ask see it."""

    version: int
    published_at: datetime
    greeting: str | None
    suggested_questions: list[str]
    language: Language | None
    colours: ColoursView
    config: ConfigView | None = Field(description="Only for who manages chatbots.")

    @classmethod
    def of(cls, version: Version, *, whole: bool) -> PublishedView:
        """Present; `whole` for who manages chatbots."""
        config = ConfigView.of(version.config)
        return cls(
            version=version.number,
            published_at=version.created_at,
            greeting=config.greeting,
            suggested_questions=config.suggested_questions,
            language=config.language,
            colours=config.colours,
            config=config if whole else None,
        )
