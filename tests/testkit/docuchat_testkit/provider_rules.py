"""What a test may ask of the stub provider, and what the stub says of itself afterwards."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

Endpoint = Literal["chat", "embeddings"]
Outcome = Literal["open", "stop", "length", "cut", "cancelled", "rejected", "done"]


class Rule(BaseModel):
    """One scripted behaviour. The first rule that matches a call decides it; actions of one rule combine.

    Matching fields that are left out match everything. `nth` counts, from 1, the calls that match the other fields
    since the rule was set; `times` is how often the rule may act at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Endpoint | None = None
    model: str | None = None
    contains: str | None = Field(
        default=None, description="Substring of the last user message, or of any embedded text."
    )
    key: str | None = Field(default=None, description="The API key of the call.")
    nth: tuple[PositiveInt, ...] = ()
    times: PositiveInt | None = None

    status: int | None = Field(default=None, ge=400, le=599, description="Refuse with this status; nothing is counted.")
    retry_after: float | None = Field(default=None, ge=0, description="Retry-After, in seconds, of a refusal.")
    refuses: tuple[str, ...] = Field(default=(), description="Parameters that are refused with 400, by name.")
    ignores: tuple[str, ...] = Field(default=(), description="Parameters that are passed over without a word.")
    drop: bool = Field(default=False, description="Close the connection without any answer.")
    text: str | None = Field(default=None, description="Answer with this text.")
    obey: bool = Field(default=False, description="Do what the prompt tells, wherever in it (`planted.toml`).")
    exact_tokens: PositiveInt | None = Field(default=None, description="Answer with exactly this many tokens.")
    header_delay: float = Field(default=0, ge=0, description="Seconds before the response head.")
    first_token_delay: float = Field(
        default=0, ge=0, description="Seconds between the response head and the first token."
    )
    stall_after: int | None = Field(default=None, ge=0, description="Fall silent after this many tokens ...")
    stall_seconds: PositiveFloat | None = Field(default=None, description="... for this long; None: until hung up.")
    cut_after: int | None = Field(default=None, ge=0, description="Close the connection after this many tokens.")
    malformed_after: int | None = Field(default=None, ge=0, description="A broken frame after this many tokens.")
    rate: PositiveFloat | None = Field(default=None, description="Tokens a second; None: as fast as possible.")
    usage_frame: bool = Field(default=True, description="Whether the usage figure is sent when asked for.")
    usage_in_end: bool = Field(default=False, description="Whether it comes in the frame with the finish reason.")


class Tally(BaseModel):
    """Tokens and calls that were really served."""

    calls: int = 0
    rejected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens + self.embedding_tokens


class Counts(Tally):
    """The provider's own books: in all, by API key, by `user` field and by model."""

    by_key: dict[str, Tally] = {}
    by_user: dict[str, Tally] = {}
    by_model: dict[str, Tally] = {}


class Call(BaseModel):
    """One call as the provider saw it."""

    index: int
    endpoint: Endpoint
    model: str
    key: str
    user: str | None
    stream: bool
    path: str
    key_header: str
    """The header that the key came in; empty where none came."""
    parameters: tuple[str, ...]
    """Names of what it was asked with."""
    status: int
    started_at: float
    finished_at: float | None = None
    first_token_at: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0
    usage_sent: bool = False
    outcome: Outcome = "open"
    last_message: str = ""
    """The end of what was asked, or of the first text that was embedded: a prompt ends with the question."""
    answer: str = ""
    """What a rule that obeys made the stub say; empty otherwise."""
    system: str = ""
    """What stands before the conversation, shortened."""
