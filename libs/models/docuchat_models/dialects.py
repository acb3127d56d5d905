"""Which parameters the models of a provider take: what speaks OpenAI's protocol still differs in a few.

The longest answer is `max_completion_tokens` at OpenAI and Azure, whose newer models refuse `max_tokens`; servers that
know `max_tokens` alone ignore the newer name without a word, and write on (https://github.com/ollama/ollama/issues/7125).
Newer models refuse a `temperature`, OpenAI's and Claude's. What is refused by name costs nothing, and is asked again
without it; a bound is never left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

import openai

from docuchat_models.chat import ChatRequest

_OPENAI: Final = re.compile(r"api\.openai\.com|.+\.(openai|services\.ai|cognitiveservices)\.azure\.(com|us|cn)")
_NEW, _OLD = "max_completion_tokens", "max_tokens"
_REFUSALS: Final = (400, 422)
_READ: Final = 4_000
"""Characters of a refusal in which a parameter is looked for."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a model is asked."""

    bounds: tuple[str, ...]
    """Names of the longest answer, the one to try first."""
    refused: frozenset[str] = frozenset()

    @classmethod
    def of(cls, base_url: str) -> Self:
        """Return what is known of an address before anything was asked."""
        is_openai = _OPENAI.fullmatch(urlsplit(base_url).hostname or "")
        return cls((_NEW, _OLD) if is_openai else (_OLD, _NEW))

    def parameters(self, request: ChatRequest) -> dict[str, Any]:
        """Return what goes with the messages."""
        bound = next(name for name in self.bounds if name not in self.refused)
        wanted = {
            bound: request.max_output_tokens,
            "temperature": request.temperature,
            "user": request.user,
            "stream_options": {"include_usage": True},
        }
        return {name: value for name, value in wanted.items() if value is not None and name not in self.refused}

    def after(self, error: openai.APIStatusError, request: ChatRequest) -> Dialect | None:
        """Return how to ask again after a refusal; None when it is not about a parameter that can be left out."""
        if error.status_code not in _REFUSALS:
            return None
        said = f"{error.message[:_READ]} '{error.param}'"
        named = frozenset(name for name in self.parameters(request) if re.search(_pattern(name), said))
        refused = self.refused | named
        return None if not named or refused.issuperset(self.bounds) else Dialect(self.bounds, refused)


def _pattern(name: str) -> str:
    # `user` is a word of many sentences: roles must alternate user/assistant
    return rf"['\"`]{name}['\"`]" if name == "user" else rf"\b{name}\b"
