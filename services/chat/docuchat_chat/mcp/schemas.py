"""What the tools take and give; models read the descriptions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_chat.answers.domain import Passage as FoundPassage
from docuchat_chat.answers.schemas import CitationView, UsageView
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.schemas import fallback_of
from docuchat_common.contracts.frames import DocumentIds, FallbackReference, FinishReason, SearchedAs, SessionId
from docuchat_common.defusing import defuse
from docuchat_common.http.json_body import StrictBody
from docuchat_common.http.pages import DEFAULT_LIMIT, MAX_LIMIT
from docuchat_common.ids import ChatbotId, CollectionId, DocumentId
from docuchat_common.metering import Used
from docuchat_knowledge.documents.domain import Document, DocumentStatus, Passage

_Documents = Annotated[
    DocumentIds | None,
    Field(description="Ids of documents, as `list_documents` gives them; leave it out to use all documents."),
]
_Collection = Annotated[
    UUID | None, Field(description="Id of a collection of documents; leave it out to use all collections.")
]
_Session = Annotated[
    SessionId | None,
    Field(
        description="To ask a follow-up, the `session_id` of the answer before; leave it out to begin a conversation."
    ),
]
_QuestionText = Annotated[str, Field(min_length=1, description="The question, in whole sentences and in any language.")]


class SearchArguments(StrictBody):
    """What is searched."""

    query: str = Field(min_length=1, max_length=2000, description="A question or words, in any language.")
    limit: int = Field(default=6, ge=1, le=50, description="How many passages at most.")
    documents: _Documents = None
    collection: _Collection = None


class PassageView(BaseModel):
    """A passage of a document."""

    chunk_id: UUID = Field(description="The passage's id, for `get_passage`.")
    document_id: UUID
    title: str
    filename: str
    page: int | None = Field(description="Counts from 1.")
    page_to: int | None = Field(description="The page on which it ends.")
    score: float = Field(description="How well it fits; comparable within one search only.")
    text: str

    @classmethod
    def of(cls, passage: FoundPassage) -> PassageView:
        """Present."""
        return cls(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            title=passage.title,
            filename=passage.filename,
            page=passage.page,
            page_to=passage.page_to,
            score=passage.score,
            text=defuse(passage.text),
        )


class SearchResult(BaseModel):
    """What was found, best first."""

    passages: list[PassageView]
    notice: str | None = Field(default=None, description="What the reader should know about the search, if anything.")


class ChatbotAskArguments(StrictBody):
    """A question to the chatbot whose key is used."""

    question: _QuestionText
    session_id: _Session = None

    def to_question(self, chatbot_id: ChatbotId) -> Question:
        """Return the question."""
        return Question(text=self.question, session_id=self.session_id, chatbot_id=chatbot_id)


class AskArguments(StrictBody):
    """A question."""

    question: _QuestionText
    session_id: _Session = None
    documents: _Documents = None
    collection: _Collection = None
    chatbot: UUID | None = Field(
        default=None,
        description="Id of a chatbot that is to answer, from what it is set up with; then name no documents, no "
        "collection and no model.",
    )
    model: str | None = Field(
        default=None, max_length=200, description="Name of the model that answers; the default model without."
    )

    def to_question(self) -> Question:
        """Return the question."""
        return Question(
            text=self.question,
            model=self.model or "",
            session_id=self.session_id,
            document_ids=tuple(map(DocumentId, self.documents)) if self.documents is not None else None,
            collection_id=CollectionId(self.collection) if self.collection is not None else None,
            chatbot_id=ChatbotId(self.chatbot) if self.chatbot is not None else None,
        )


class AskResult(BaseModel):
    """An answer."""

    answer: str = Field(description="The answer; [1] in it is the citation of that number.")
    citations: list[CitationView]
    session_id: str = Field(description="Send it with the next question to follow up.")
    chat_id: UUID
    turn_id: UUID
    message_id: UUID
    model: str = Field(description="The model that answered.")
    fallback: FallbackReference | None = Field(default=None, description="Set where that is not the one asked first.")
    chatbot_id: UUID | None = Field(default=None, description="The chatbot that answered, if one did.")
    finish_reason: FinishReason = Field(
        description="`stop` is a whole answer, `no_sources` says that the documents hold nothing on it."
    )
    searched_as: SearchedAs = None
    usage: UsageView

    @classmethod
    def of(cls, answer: Answer) -> AskResult:
        """Present."""
        turn, message = answer.turn, answer.message
        return cls(
            answer=message.content,
            citations=[CitationView.of(citation) for citation in message.citations],
            session_id=turn.session_id,
            chat_id=turn.chat_id,
            turn_id=turn.id,
            message_id=turn.message_id,
            model=turn.model,
            fallback=fallback_of(turn),
            chatbot_id=turn.chatbot_id,
            finish_reason=message.metadata.get("finish_reason", "stop"),
            searched_as=turn.searched_as,
            usage=UsageView.of(message.usage or Used(0)),
        )


class ListArguments(StrictBody):
    """Which documents are listed."""

    cursor: str | None = Field(
        default=None, max_length=500, description="`next_cursor` of the page before; leave it out for the first page."
    )
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="How many documents at most.")
    status: DocumentStatus | None = Field(default=None, description="Only documents in this state.")


class DocumentView(BaseModel):
    """A document."""

    id: UUID
    title: str
    filename: str
    status: DocumentStatus = Field(description="Only what is `ready` is found and answered from.")
    pages: int | None = Field(description="Number of pages; null until the file was opened.")
    collection_id: UUID
    created_at: datetime

    @classmethod
    def of(cls, document: Document) -> DocumentView:
        """Present."""
        return cls(
            id=document.id,
            title=defuse(document.title),
            filename=defuse(document.filename),
            status=document.status,
            pages=document.pages,
            collection_id=document.collection_id,
            created_at=document.created_at,
        )


class ListResult(BaseModel):
    """A page of documents, newest first."""

    documents: list[DocumentView]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class PassageArguments(StrictBody):
    """Which passage is read."""

    chunk_id: UUID = Field(description="The `chunk_id` of a citation or of a passage that `search` found.")


class PassageResult(BaseModel):
    """A passage with its place in its document."""

    chunk_id: UUID
    document_id: UUID
    collection_id: UUID
    title: str
    filename: str
    page: int = Field(description="Counts from 1.")
    page_to: int
    text: str
    previous_chunk_id: UUID | None = Field(description="The passage before it; null at the beginning.")
    next_chunk_id: UUID | None = Field(description="The passage after it; null at the end.")

    @classmethod
    def of(cls, passage: Passage) -> PassageResult:
        """Present a passage that was read with one neighbour."""
        chunk = passage.chunk
        return cls(
            chunk_id=chunk.id,
            document_id=passage.document_id,
            collection_id=passage.collection_id,
            title=defuse(passage.title),
            filename=defuse(passage.filename),
            page=chunk.page,
            page_to=chunk.page_to,
            text=defuse(chunk.text),
            previous_chunk_id=passage.before[-1].id if passage.before else None,
            next_chunk_id=passage.after[0].id if passage.after else None,
        )
