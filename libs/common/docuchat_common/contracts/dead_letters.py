"""What services say to each other, and to an operator, about messages that were given up."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class DeadLetter(BaseModel):
    """Messages of one queue that were given up for one reason; never their content."""

    queue: str = Field(description="The queue that they came from.")
    type: str = Field(description="The event type that the queue is for.")
    reason: str = Field(description="The code of the error that ended the last try.")
    count: int = Field(description="How many, of the first thousand of the queue.")
    oldest_seconds: float = Field(description="How long ago the first of them was given up.")
    ids: list[UUID] = Field(default_factory=list, description="Of the first few: logs know messages by them.")


class DeadLetterList(BaseModel):
    """The dead letters of a service."""

    items: list[DeadLetter]


class ReplayRequest(BaseModel):
    """What to bring back."""

    model_config = ConfigDict(extra="forbid")

    queue: str | None = Field(default=None, max_length=200, description="The queue to replay; all of them without it.")


class DiscardRequest(BaseModel):
    """What to forget for good."""

    model_config = ConfigDict(extra="forbid")

    queue: str = Field(max_length=200, description="The queue whose dead letters are forgotten.")


class DiscardResult(BaseModel):
    """How many messages were forgotten."""

    discarded: int


class ReplayResult(BaseModel):
    """How many messages were brought back."""

    replayed: int
