"""The limits that the use cases keep to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from docuchat_chat.answers.setup import Setup


@dataclass(frozen=True, slots=True)
class Demo:
    """How many messages visitors of a chatbot may send in a month; 0 is no limit, also of the others."""

    messages: int = 10
    """Of each visitor, where the chatbot does not say otherwise."""
    per_address: int | None = None
    """Of all visitors behind one address; None as many as one visitor."""
    per_chatbot: int = 1000
    """Of all visitors of a chatbot together."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits and deadlines, from the settings."""

    default_model: str
    fallback_model: str | None = None
    """Answers where no chatbot is asked and the model's provider is down."""
    max_message_chars: int = 16_000
    max_context_tokens: int = 8000
    max_output_tokens: int = 1024
    max_history_tokens: int = 2000
    max_history_messages: int = 20
    top_k: int = 6
    source_tokens: int = 460
    """What a source may take of the hold's estimate: a chunk and its heading."""
    first_token_timeout: timedelta = timedelta(seconds=60)
    fallback_after: timedelta = timedelta(seconds=20)
    """As `first_token_timeout`, where another model stands by."""
    between_tokens_timeout: timedelta = timedelta(seconds=30)
    turn_timeout: timedelta = timedelta(minutes=10)
    rewriting_timeout: timedelta = timedelta(seconds=3)
    """How long a model may take to say what a follow-up question means."""
    provider_attempts: int = 3
    longest_provider_wait: timedelta = timedelta(seconds=8)
    hold_renewal: timedelta = timedelta(seconds=20)
    hold_shrink: timedelta = timedelta(seconds=1)
    """How long an answer runs before its hold is cut to what it can still use."""
    storage_patience: timedelta = timedelta(seconds=60)
    drain: timedelta = timedelta(seconds=20)
    sweep: timedelta = timedelta(seconds=1)
    """How often turns of dead processes are looked for."""
    key_life: timedelta = timedelta(hours=24)
    head_patience: timedelta = timedelta(seconds=1.8)
    """A stream's head goes out after this, prepared or not; what refuses the question sooner keeps its status."""
    booking_patience: timedelta = timedelta(minutes=2)
    """After this the ledger is asked whether it has a turn's tokens."""
    turn_life: timedelta = timedelta(days=30)
    """How long a finished turn can be replayed frame by frame; its message stays."""
    chat_life: timedelta | None = None
    """Chats unused for so long are deleted; None keeps them."""
    max_running_turns: int = 2000
    max_preparing: int = 20
    """Questions that are prepared at once; more wait here, in order, rather than for a connection of the pool."""
    preparation_patience: timedelta = timedelta(seconds=15)
    """How long a question waits for its turn to be prepared, before it is told to come back."""

    @property
    def standby_timeout(self) -> timedelta:
        """How long a provider may be silent before its first token where another model stands by."""
        return min(self.fallback_after, self.first_token_timeout)

    def setup(self, model: str = "") -> Setup:
        """Return what answers where no chatbot is asked; `model` empty is the default one."""
        return Setup(model or self.default_model, self.top_k, self.fallback_model)

    def longest_answer(self, setup: Setup) -> int:
        """Return how many tokens an answer may have: what is wished for goes no further than what is allowed."""
        most = self.max_output_tokens
        return most if setup.max_output_tokens is None else min(setup.max_output_tokens, most)
