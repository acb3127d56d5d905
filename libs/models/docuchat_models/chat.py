"""Answers of a language model: what is asked, and what arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "content_filter"]
"""Why an answer ended: it was whole, as long as was asked, or held back by the provider."""


class ChatMessage(Protocol):
    """One message of a prompt."""

    @property
    def role(self) -> str:
        """Who speaks: system, user or assistant."""
        ...

    @property
    def content(self) -> str:
        """What is said."""
        ...


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked; `user` tells the provider's abuse watch end users apart."""

    model: str
    messages: Sequence[ChatMessage]
    max_output_tokens: int
    user: str
    temperature: float | None = None
    """None leaves it to the provider."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one model call; `estimated` when the provider's own figure never came."""

    input_tokens: int
    output_tokens: int
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


@dataclass(slots=True)
class Piece:
    """What arrived of an answer in one read: text, and at the end why it ended and what it cost.

    The first piece is empty and says that the model accepted the request.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    thoughts: str = ""
    """What the model wrote before its answer: not to be shown, but billed."""
