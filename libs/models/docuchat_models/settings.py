"""Settings that every process shares which embeds: mixed into the services' own settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from docuchat_common.durations import Duration
from docuchat_common.settings import ServiceSettings, ServiceUrl
from docuchat_models.providers import LONGEST_PAUSE


class EmbeddingSettings(BaseSettings):
    """Which embedding model; without an OPENAI_API_KEY the embedded WordLlama."""

    model_config = ServiceSettings.model_config  # of bases, pydantic takes the last one's

    openai_api_key: SecretStr | None = None
    openai_base_url: ServiceUrl = "https://api.openai.com/v1"
    embedding_provider: Literal["auto", "openai", "wordllama"] = "auto"
    embedding_model: str = "text-embedding-3-small"
    embedding_dimensions: int | None = Field(default=None, ge=1, le=4000)
    """Asked from the provider when given; else the model's own."""
    embedding_vector_weight: float | None = Field(default=None, ge=0, le=10)
    """What the model's cosines weigh in a search beside words, which weigh 1; taken over by `ensure-space`."""
    embedding_timeout: Duration = timedelta(seconds=30)
    provider_longest_pause: Duration = LONGEST_PAUSE
    """However long a provider asks to be left alone, it is asked again after this."""

    @property
    def embeds_with_openai(self) -> bool:
        if self.embedding_provider == "auto":
            return self.openai_api_key is not None and bool(self.openai_api_key.get_secret_value())
        return self.embedding_provider == "openai"
