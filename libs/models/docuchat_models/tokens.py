"""Token counting with tiktoken, exact for OpenAI models and a fair estimate for others."""

from __future__ import annotations

import tiktoken

_USUAL_ENCODING = "o200k_base"


class TokenCounter:
    """Counts and cuts in the vocabulary of a model; cheap to make again (tiktoken keeps vocabularies by process).

    The vocabulary comes from `TIKTOKEN_CACHE_DIR`, else over the network.
    """

    def __init__(self, encoding: tiktoken.Encoding, *, is_exact: bool = True) -> None:
        """`is_exact`: the vocabulary is the model's own."""
        self._encoding = encoding
        self.is_exact = is_exact

    @classmethod
    def for_model(cls, model: str) -> TokenCounter:
        """Vocabulary of the model; o200k_base where tiktoken does not know it."""
        try:
            name, is_exact = tiktoken.encoding_name_for_model(model.rpartition("/")[2]), True
        except KeyError:
            name, is_exact = _USUAL_ENCODING, False
        encoding = tiktoken.get_encoding(name)
        # Python's copy of the vocabulary, 25 MB, is only read while the encoding is made (and to pickle it).
        encoding._mergeable_ranks = {}  # noqa: SLF001 - there is no public way
        return cls(encoding, is_exact=is_exact)

    @property
    def encoding_name(self) -> str:
        """Name of the vocabulary, such as `cl100k_base`."""
        return self._encoding.name

    def count(self, text: str) -> int:
        """Tokens of the text; special tokens in it count as plain text."""
        return len(self._encoding.encode_ordinary(text))

    def truncate(self, text: str, limit: int) -> str:
        """The longest beginning of the text of at most `limit` tokens, never ending in half a character."""
        return self.fit(text, limit)[0]

    def fit(self, text: str, limit: int) -> tuple[str, int]:
        """As `truncate`, with the tokens of what is left."""
        tokens = self._encoding.encode_ordinary(text)
        if len(tokens) <= limit:
            return text, len(tokens)
        end = limit
        while end > 0:
            head = self._encoding.decode_bytes(tokens[:end]).decode("utf-8", errors="ignore")
            # a cut inside a character leaves fewer characters; a cut inside a word may also count more tokens by itself
            if (count := len(self._encoding.encode_ordinary(head))) <= limit:
                return head, count
            end -= 1
        return "", 0
