"""Settings of the chat service, read once from the environment."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from docuchat_chat.answers import extractive
from docuchat_chat.turns.policy import Demo, Policy
from docuchat_common.durations import Duration
from docuchat_common.egress import EgressSettings
from docuchat_common.rate_limits import Rates, parse_rates
from docuchat_common.settings import ServiceSettings, ServiceUrl
from docuchat_models.settings import EmbeddingSettings


class Settings(ServiceSettings, EmbeddingSettings, EgressSettings):
    """Which model answers, within which limits."""

    port: int = Field(default=8002, ge=0, le=65535)
    usage_url: ServiceUrl = "http://127.0.0.1:8003"
    public_url: Annotated[ServiceUrl, AfterValidator(lambda url: url.rstrip("/"))] = "http://localhost:8000"
    """The gateway as browsers know it: links to shared chats lead there."""

    internal_token_before: SecretStr | None = None
    """The INTERNAL_TOKEN before: keys of providers open under it, and are sealed anew."""

    openai_model: str = "gpt-4o-mini"
    allowed_models: Annotated[tuple[str, ...], NoDecode] = ()
    """Models that may be asked for, separated by commas; OPENAI_MODEL always is."""

    fallback_model: str | None = None
    """Answers when the provider of a model does not, where no chatbot is asked; empty: no other does."""

    max_message_chars: int = Field(default=16_000, ge=1)
    max_context_tokens: int = Field(default=8000, ge=500)
    max_history_tokens: int = Field(default=2000, ge=0)
    max_output_tokens: int = Field(default=1024, ge=1)
    top_k: int = Field(default=6, ge=1, le=50)
    chunk_token_size: int = Field(default=400, ge=1)

    max_chatbots: int = Field(default=100, ge=0)
    """Of one tenant."""

    question_embedding_timeout: Duration = timedelta(seconds=2)
    """For the embedding of a question; after that words alone find its sources."""
    provider_connect_timeout: Duration = timedelta(seconds=5)
    provider_first_token_timeout: Duration = timedelta(seconds=60)
    provider_fallback_after: Duration = timedelta(seconds=20)
    """For the first token where another model stands by; a model that thinks in silence needs more."""
    provider_between_tokens_timeout: Duration = timedelta(seconds=30)
    provider_attempts: int = Field(default=3, ge=1, le=10)
    turn_timeout: Duration = timedelta(seconds=600)
    max_running_turns: int = Field(default=2000, ge=1)

    demo_messages: int = Field(default=10, ge=0)
    """Messages a month of each visitor of a chatbot that does not say otherwise; 0 is no limit."""
    demo_messages_per_address: int | None = Field(default=None, ge=0)
    """Of all visitors behind one address; empty: as many as one visitor, 0 is no limit."""
    demo_messages_per_chatbot: int = Field(default=1000, ge=0)
    """Of all visitors of a chatbot together; 0 is no limit."""
    questions_per_address: Rates = parse_rates("60/m")
    """Of visitors of one chatbot from one address."""

    chat_titles: bool = True
    """Whether the model is asked for a title after the first answer in a chat."""

    question_rewriting: bool = True
    """Whether the model is asked what a follow-up question means; else it is searched with words of the one before."""

    hold_lease: Duration = timedelta(seconds=60)
    turn_sweep: Duration = timedelta(seconds=1)
    """How often turns of dead processes are looked for."""
    booking_patience: Duration = timedelta(minutes=2)
    """How long after a turn the ledger must have its tokens; else they are announced again."""
    turn_retention: Duration = timedelta(days=30)
    chat_retention: Duration | None = None
    """Chats unused for so long are deleted; empty keeps them."""
    spool_dir: Path = Path(tempfile.gettempdir()) / "docuchat-chat-spool"
    """A folder that outlives the process, such as a volume: what was received waits there to be booked."""
    turn_stream_life: Duration = timedelta(seconds=900)
    """How long a turn can be resumed from Redis; afterwards it is from the stored message."""

    @field_validator("allowed_models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def answers_with_openai(self) -> bool:
        """Whether a language model answers; without a key the documents are quoted."""
        return self.openai_api_key is not None and bool(self.openai_api_key.get_secret_value())

    def models(self) -> tuple[str, ...]:
        """Return the models that may be asked, the default one first."""
        if not self.answers_with_openai:
            return (extractive.MODEL,)
        return tuple(dict.fromkeys((self.openai_model, *self.allowed_models)))

    def demo(self) -> Demo:
        """Return what visitors of chatbots may send."""
        return Demo(self.demo_messages, self.demo_messages_per_address, self.demo_messages_per_chatbot)

    def policy(self) -> Policy:
        """Return the limits for the use cases."""
        return Policy(
            default_model=self.models()[0],
            fallback_model=self.fallback_model or None,
            max_message_chars=self.max_message_chars,
            max_context_tokens=self.max_context_tokens,
            max_output_tokens=self.max_output_tokens,
            max_history_tokens=self.max_history_tokens,
            top_k=self.top_k,
            source_tokens=self.chunk_token_size + 60,
            first_token_timeout=self.provider_first_token_timeout,
            fallback_after=self.provider_fallback_after,
            between_tokens_timeout=self.provider_between_tokens_timeout,
            turn_timeout=self.turn_timeout,
            provider_attempts=self.provider_attempts,
            hold_renewal=self.hold_lease / 3,
            drain=self.shutdown_grace,
            sweep=self.turn_sweep,
            booking_patience=self.booking_patience,
            turn_life=self.turn_retention,
            chat_life=self.chat_retention,
            max_running_turns=self.max_running_turns,
            max_preparing=2 * self.database_pool_size,
        )
