"""Token counting with tiktoken, exact for OpenAI models and a fair estimate for others."""

from __future__ import annotations

from collections.abc import Sequence


class TokenCounter:
    """Counts, cuts and names the vocabulary of a model; cheap to make again (vocabularies are cached by process)."""

    @classmethod
    def for_model(cls, model: str) -> TokenCounter:
        """Vocabulary of the model; o200k_base where tiktoken does not know it."""
        raise NotImplementedError

    @property
    def encoding_name(self) -> str:
        raise NotImplementedError

    def count(self, text: str) -> int:
        """Tokens of the text; special tokens in it count as plain text."""
        raise NotImplementedError

    def count_all(self, texts: Sequence[str]) -> list[int]:
        raise NotImplementedError

    def truncate(self, text: str, limit: int) -> str:
        """The longest beginning of the text of at most `limit` tokens, never ending in half a character."""
        raise NotImplementedError
