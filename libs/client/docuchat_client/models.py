"""What the service answers, as frozen models. Unknown fields are ignored, so that a newer service is understood."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")
# Sessions are named by the caller, with a number or a text; ids of chats are what we get for them.
SessionId = Annotated[str, BeforeValidator(str)]
DocumentStatus = Literal["queued", "processing", "ready", "failed"]
Rating = Literal["up", "down"]


class Model(BaseModel):
    """What every answer is: frozen, and open to fields of a newer service."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Page(Model, Generic[T]):
    """One page of a list; `next_cursor` asks for the next."""

    items: list[T]
    next_cursor: str | None = None


class Tokens(Model):
    """An access token and the refresh token that renews it."""

    access_token: str
    refresh_token: str | None = None
    token_type: str | None = None
    device: str | None = None
    expires_in: int = 0


class CodeSent(Model):
    """The answer to a request for a sign-in code; the code lives `expires_in` seconds.

    `challenge` goes with the code: it binds guesses to the program that asked, so that strangers cannot use them up.
    """

    status: str
    expires_in: int | None = None
    challenge: str | None = None


class Tenant(Model):
    """A company."""

    id: int
    customer_id: UUID | None = None
    slug: str
    name: str


class User(Model):
    """Who is signed in."""

    id: UUID
    email: str | None
    email_verified: bool = True
    username: str | None = None
    name: str | None = None
    role: str
    tenant: Tenant
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def called(self) -> str:
        """The address, else the user name."""
        return self.email or self.username or str(self.id)


class Registered(Tokens):
    """A new user, who is signed in; a code was mailed that proves the address, if there is `verification`."""

    user: User
    verification: CodeSent | None = None


class DocumentError(Model):
    """Why a document failed."""

    code: str
    detail: str | None = None


class DocumentInfo(Model):
    """What a file says of itself; empty where it says nothing."""

    title: str = ""
    author: str = ""
    page_labels: list[str] = []
    """What is printed on each page as its number, when that is not its place; not in lists."""
    attachments: list[str] = []
    """Names of files within the file, which are not read."""


class Document(Model):
    """An uploaded document and how far its ingestion is."""

    id: UUID
    title: str | None = None
    filename: str
    media_type: str | None = None
    size_bytes: int
    sha256: str | None = None
    status: DocumentStatus
    pages: int | None = None
    pages_done: int | None = None
    chunks: int | None = None
    queue_position: int | None = None
    eta_seconds: float | None = None
    error: DocumentError | None = None
    created_at: datetime
    updated_at: datetime | None = None
    ready_at: datetime | None = None
    collection_id: UUID | None = None
    waiting_until: datetime | None = None
    """Not tried again before then; `error` says what it waits for."""
    pages_unread: int | None = None
    """Pages of which nothing, or little, could be read."""
    warnings: list[str] = []
    info: DocumentInfo | None = None
    embedding_outdated: bool = False
    """Found by its words alone, until it is embedded again."""
    purpose: str | None = None
    """What OpenAI's clients uploaded it for."""

    @property
    def is_settled(self) -> bool:
        """Whether ingestion has ended, one way or the other."""
        return self.status in ("ready", "failed")


class DeletionReceipt(Model):
    """The proof that a document is gone."""

    id: UUID
    deleted_at: datetime
    chunks_deleted: int


class Source(Model):
    """A passage that was handed to the model."""

    number: int
    chunk_id: UUID
    document_id: UUID
    title: str | None = None
    filename: str | None = None
    page: int | None = None
    page_to: int | None = None
    deleted: bool = False
    """Whether its document is no longer available; title, file name and quote are empty then."""


class Citation(Source):
    """A passage that the answer rests on, with the words that say so."""

    quote: str = ""
    score: float | None = None


class TurnUsage(Model):
    """Tokens of one answer; `estimated` when the provider never told its own figure."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    estimated: bool = False


class AttachedFile(Model):
    """A file that was sent with a question."""

    id: UUID
    title: str | None = None
    filename: str


class Feedback(Model):
    """What its reader thinks of an answer."""

    rating: Rating
    reason: str | None = None
    text: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Message(Model):
    """One message of a chat."""

    id: UUID
    chat_id: UUID | None = None
    role: Literal["user", "assistant", "system"]
    content: str
    citations: list[Citation] = []
    usage: TurnUsage | None = None
    model: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    metadata: dict[str, Any] = {}
    attachments: list[AttachedFile] = []
    parent_id: UUID | None = None
    """The message that it follows; None for a first one."""
    siblings: list[UUID] = []
    """Messages that follow the same one, itself among them; known where a chat is read."""
    feedback: Feedback | None = None


class Match(Model):
    """Where a search found its words."""

    message_id: UUID | None = None
    snippet: str


class Chat(Model):
    """A conversation."""

    id: UUID
    session_id: SessionId | None = None
    title: str | None = None
    created_at: datetime
    updated_at: datetime | None = None
    message_count: int | None = None
    pinned: bool = False
    archived: bool = False
    match: Match | None = None
    """Where the words of a search are; None without one, and where they are in the title alone."""


class ChatWithMessages(Chat):
    """A conversation and a page of its messages."""

    head_id: UUID | None = None
    """The last message of what is shown."""
    messages: list[Message] = []
    next_cursor: str | None = None


class Fallback(Model):
    """Why another model answered than the one that was asked."""

    model_config = ConfigDict(serialize_by_alias=True)

    asked: str = Field(alias="from")
    """The model that was asked first."""
    reason: str


class Answer(Model):
    """A whole answer."""

    chat_id: UUID
    session_id: SessionId | None = None
    turn_id: UUID
    message: Message
    usage: TurnUsage
    model: str | None = None
    """The one that answered."""
    fallback: Fallback | None = None
    finish_reason: str | None = None
    searched_as: str | None = None
    chatbot_id: UUID | None = None
    chatbot_version: int | None = None
    """The version that answered; 0 is the draft."""


class Begun(Model):
    """A question that is being answered."""

    turn_id: UUID
    chat_id: UUID


class Start(Model):
    """The answer begins."""

    type: Literal["start"] = "start"
    turn_id: UUID
    chat_id: UUID
    session_id: SessionId | None = None
    message_id: UUID | None = None
    user_message_id: UUID | None = None
    model: str | None = None
    chatbot_id: UUID | None = None
    chatbot_version: int | None = None


class Sources(Model):
    """What was found for the question."""

    type: Literal["sources"] = "sources"
    sources: list[Source] = []
    notice: str | None = None


class Delta(Model):
    """The next piece of the answer."""

    type: Literal["delta"] = "delta"
    seq: int
    token: str


class End(Model):
    """The answer is complete, or was stopped."""

    type: Literal["end"] = "end"
    seq: int | None = None
    message_id: UUID | None = None
    finish_reason: str | None = None
    model: str | None = None
    """The one that answered."""
    fallback: Fallback | None = None
    searched_as: str | None = None
    usage: TurnUsage = TurnUsage()
    citations: list[Citation] = []
    own_knowledge: list[str] = []
    """Sentences that the model knows from elsewhere."""


AnswerEvent = Start | Sources | Delta | End


class PageText(Model):
    """The text of one page of a document, as it was read."""

    document_id: UUID
    page: int
    pages: int
    text: str


class PassageText(Model):
    """A piece of a document's text, as it was indexed."""

    id: UUID
    ordinal: int
    page: int
    page_to: int
    char_start: int
    char_end: int
    text: str


class Passage(Model):
    """What a citation points at, with what stands around it."""

    document_id: UUID
    collection_id: UUID
    title: str
    filename: str
    passage: PassageText
    before: list[PassageText]
    after: list[PassageText]


class SearchResult(Model):
    """A passage that was found, and its rank in either leg of the search."""

    chunk_id: UUID
    document_id: UUID
    title: str | None = None
    page: int | None = None
    page_to: int | None = None
    text: str
    score: float
    vector_rank: int | None = None
    text_rank: int | None = None


class SearchResults(Model):
    """What a search found, best first."""

    results: list[SearchResult] = Field(validation_alias=AliasChoices("results", "items"))


def parse_event(data: dict[str, Any]) -> AnswerEvent | None:
    """The event of a frame; None for a type that this version does not know."""
    match data.get("type"):
        case "start":
            return Start.model_validate(data)
        case "sources":
            return Sources.model_validate(data)
        case "delta":
            return Delta.model_validate(data)
        case "end":
            return End.model_validate(data)
        case _:
            return None
