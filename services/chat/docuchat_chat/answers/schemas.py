"""Passages, citations and token counts as clients see them."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_chat.answers.domain import Citation, Passage
from docuchat_common.defusing import defuse
from docuchat_common.metering import Used


class UsageView(BaseModel):
    """Tokens of one model call."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated: bool = Field(description="True when the provider's own figure never came and we counted.")

    @classmethod
    def of(cls, usage: Used) -> UsageView:
        """Present."""
        return cls(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
            estimated=usage.estimated,
        )


class CitationView(BaseModel):
    """A reference that was checked against what was retrieved; `number` is the [n] in the text."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str
    filename: str
    page: int | None = Field(description="Counts from 1.")
    page_to: int | None
    quote: str = Field(description="The sentence of the document that the statement rests on.")
    score: float
    deleted: bool = Field(
        default=False,
        description="Whether the document is no longer available: deleted, or not the reader's to see any more. Title, "
        "file name and quote are empty then.",
    )

    @classmethod
    def of(cls, citation: Citation) -> CitationView:
        """Present."""
        return cls(
            number=citation.number,
            chunk_id=citation.chunk_id,
            document_id=citation.document_id,
            title=citation.title,
            filename=citation.filename,
            page=citation.page,
            page_to=citation.page_to,
            quote=citation.quote,
            score=citation.score,
            deleted=citation.deleted,
        )


class FoundPassage(BaseModel):
    """A passage that search found; ranks count from 1, null where that leg did not find it."""

    chunk_id: UUID
    document_id: UUID
    title: str
    page: int | None
    page_to: int | None
    text: str
    score: float
    vector_rank: int | None
    text_rank: int | None

    @classmethod
    def of(cls, passage: Passage) -> FoundPassage:
        """Present."""
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            title=passage.title,
            page=passage.page,
            page_to=passage.page_to,
            text=defuse(passage.text),
            score=passage.score,
            vector_rank=passage.vector_rank,
            text_rank=passage.text_rank,
        )


class SearchView(BaseModel):
    """What a question would be answered from, best first."""

    items: list[FoundPassage]
    notice: str | None = Field(default=None, description="What the reader should know about the search, if anything.")
