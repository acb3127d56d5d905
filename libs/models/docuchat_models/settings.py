"""Settings that every process shares which embeds: mixed into the services' own settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

from docuchat_common.durations import Duration
from docuchat_common.settings import ServiceSettings, ServiceUrl
from docuchat_models.prefixes import Prefixes, prefixes_of
from docuchat_models.providers import LONGEST_PAUSE


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


Prefix = Annotated[str, AfterValidator(_unquoted)]
"""Before each text; in double quotes where it ends in a space, and `""` for none, since what is empty is not set."""


class EmbeddingSettings(BaseSettings):
    """Which embedding model; without a key or an address of a provider the embedded WordLlama."""

    model_config = ServiceSettings.model_config  # of bases, pydantic takes the last one's

    openai_api_key: SecretStr | None = None
    openai_base_url: ServiceUrl = "https://api.openai.com/v1"
    embedding_base_url: ServiceUrl | None = None
    """Where the embeddings come from, when not from OPENAI_BASE_URL."""
    embedding_api_key: SecretStr | None = None
    """The key there, when not OPENAI_API_KEY."""
    embedding_provider: Literal["auto", "openai", "wordllama"] = "auto"
    embedding_model: str = "text-embedding-3-small"
    embedding_dimensions: int | None = Field(default=None, ge=1, le=4000)
    """Asked from the provider when given; else the model's own."""
    embedding_query_prefix: Prefix | None = None
    embedding_passage_prefix: Prefix | None = None
    """Before each question and each passage, when not what is known of the model."""
    embedding_vector_weight: float | None = Field(default=None, ge=0, le=10)
    """What the model's cosines weigh in a search beside words, which weigh 1; taken over by `ensure-space`."""
    embedding_timeout: Duration = timedelta(seconds=30)
    provider_longest_pause: Duration = LONGEST_PAUSE
    """However long a provider asks to be left alone, it is asked again after this."""

    @property
    def embeds_with_openai(self) -> bool:
        """Whether a provider embeds: with `auto` as soon as there is an address of its own, or a key."""
        if self.embedding_provider == "auto":
            return self.embedding_base_url is not None or self.embedding_key is not None
        return self.embedding_provider == "openai"

    @property
    def embedding_url(self) -> str:
        """Where the provider of embeddings is."""
        return self.embedding_base_url or self.openai_base_url

    @property
    def embedding_key(self) -> str | None:
        """The key of the provider of embeddings; None when there is none, as for a server of one's own."""
        keys = (key.get_secret_value() for key in (self.embedding_api_key, self.openai_api_key) if key is not None)
        return next((key for key in keys if key), None)

    @property
    def embedding_prefixes(self) -> Prefixes:
        """What the model is sent before each text."""
        known = prefixes_of(self.embedding_model)
        query, passage = self.embedding_query_prefix, self.embedding_passage_prefix
        return Prefixes(known.query if query is None else query, known.passage if passage is None else passage)
