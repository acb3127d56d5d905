"""What an embedding model wants before a query and before a passage, because it was trained so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Put before each text, and part of the embedding space: a vector made without compares badly with one made so."""

    query: str = ""
    passage: str = ""


NO_PREFIXES: Final = Prefixes()
_E5: Final = Prefixes("query: ", "passage: ")
_NOMIC: Final = Prefixes("search_query: ", "search_document: ")
_RETRIEVAL: Final = Prefixes(query="Represent this sentence for searching relevant passages: ")
_KNOWN: Final = (
    (r"(multilingual-)?e5-(small|base|large)(-v2)?", _E5),  # https://huggingface.co/intfloat/multilingual-e5-large
    (r"nomic-embed-text(-v\d.*)?", _NOMIC),  # https://huggingface.co/nomic-ai/nomic-embed-text-v1.5
    (r"mxbai-embed-large(-v1)?", _RETRIEVAL),  # https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1
    (r"bge-(small|base|large)-en(-v1\.5)?", _RETRIEVAL),  # https://huggingface.co/BAAI/bge-large-en-v1.5
)


def prefixes_of(model: str) -> Prefixes:
    """Return what the model's card asks for; nothing where it asks for nothing, or the model is not known here.

    `model` may begin with its maker (`intfloat/`) and end with a tag of Ollama's (`:latest`), in any case.
    """
    name = model.rpartition("/")[2].partition(":")[0].lower()
    return next((prefixes for pattern, prefixes in _KNOWN if re.fullmatch(pattern, name)), NO_PREFIXES)
