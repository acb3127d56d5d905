"""Passages, prompts and citations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from docuchat_common.ids import ChunkId, DocumentId, HoldId

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Citation:
    """A checked reference from an answer to a place in a document."""

    number: int
    chunk_id: ChunkId
    document_id: DocumentId
    title: str
    filename: str
    page: int | None
    page_to: int | None
    quote: str
    score: float
    deleted: bool = False
    """Whether its document is gone, for all or for the reader: title, file name and quote are empty then."""


@dataclass(frozen=True, slots=True)
class PastMessage:
    """A message as the prompt needs it: role, text and its tokens under the tokenizer it was counted with."""

    role: Role
    content: str
    tokens: int | None = None
    tokenizer: str | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved chunk: what an answer may rest on and cite."""

    chunk_id: ChunkId
    document_id: DocumentId
    title: str
    filename: str
    page: int | None
    page_to: int | None
    text: str
    score: float
    vector_rank: int | None = None
    text_rank: int | None = None


DocumentName = tuple[str, str]
"""Title and file name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage under the number that the prompt and the citations give it."""

    number: int
    passage: Passage
    deleted: bool = False
    """As of a citation."""


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent to the model, and what it costs to send it."""

    messages: tuple[PromptMessage, ...]
    sources: tuple[Source, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class Library:
    """What documents there are to answer from."""

    ready: int
    processing: int
    failed: int
    outdated: int = 0
    """Ready ones whose vectors are of another model: they are found by words alone."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a question found in the documents."""

    passages: tuple[Passage, ...]
    notice: str | None = None
    """What the reader should know about the search."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Tokens that the usage service keeps back until what they are held for is booked."""

    id: HoldId
    tokens: int
