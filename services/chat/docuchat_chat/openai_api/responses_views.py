"""Responses as OpenAI's clients know them."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_chat.openai_api.responses import (
    Given,
    IncompleteReason,
    Mark,
    Status,
    answer_item_of,
    id_of,
    incomplete_reason,
    marks_of,
    status_of,
)
from docuchat_chat.openai_api.schemas import AnswerDetails
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.domain import Turn
from docuchat_common.errors import DocuChatError, RateLimited
from docuchat_common.ids import file_name


class FileCitation(BaseModel):
    """A place of the text that was checked against what was retrieved."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str = Field(description="The document, as a file of `GET /v1/files`: `file-` and its id.")
    document_id: UUID
    filename: str
    index: int = Field(description="Where in the text its [n] stands, in characters (Unicode code points) from 0.")
    number: int = Field(description="The n of its [n].")
    chunk_id: UUID
    title: str
    page: int | None = Field(description="Counts from 1.")
    page_to: int | None
    quote: str = Field(description="The sentence of the document that the statement rests on.")
    deleted: bool = Field(default=False, description="As of `POST /v1/chat`.")

    @classmethod
    def of(cls, mark: Mark) -> FileCitation:
        """Present."""
        citation = mark.citation
        return cls(
            file_id=file_name(citation.document_id),
            document_id=citation.document_id,
            filename=citation.filename,
            index=mark.index,
            number=citation.number,
            chunk_id=citation.chunk_id,
            title=citation.title,
            page=citation.page,
            page_to=citation.page_to,
            quote=citation.quote,
            deleted=citation.deleted,
        )


class OutputText(BaseModel):
    """The text of an answer."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[FileCitation]
    logprobs: list[Any] = Field(default=[], max_length=0)


class OutputMessage(BaseModel):
    """An answer."""

    id: str = Field(examples=["msg_019a00000000700080000000000000ab"])
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"]
    content: list[OutputText]


class InputTokensDetails(BaseModel):
    """Nothing is told of a provider's cache."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(BaseModel):
    """What a model thinks is part of its output, and not counted apart."""

    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    """The tokens of the call, as they are booked."""

    input_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens: int
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()
    total_tokens: int

    @classmethod
    def of(cls, answer: Answer) -> ResponseUsage:
        """Present."""
        used = answer.message.usage
        taken, given = (0, 0) if used is None else (used.input_tokens, used.output_tokens)
        return cls(input_tokens=taken, output_tokens=given, total_tokens=taken + given)


class ResponseError(BaseModel):
    """What ended an answer that was begun."""

    code: Literal["server_error", "rate_limit_exceeded"]
    message: str
    type: str = Field(description="As `code`.")
    param: None = None

    @classmethod
    def of(cls, error: DocuChatError) -> ResponseError:
        """Present."""
        code: Literal["server_error", "rate_limit_exceeded"] = (
            "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
        )
        return cls(code=code, type=code, message=error.detail)


class IncompleteDetails(BaseModel):
    """Why an answer is not whole."""

    reason: IncompleteReason


class TurnDetails(BaseModel):
    """Where an answer without an end is found."""

    turn_id: UUID
    chat_id: UUID
    message_id: UUID
    session_id: str
    error_code: str | None = Field(default=None, description="What ended it, in the product's own words.")

    @classmethod
    def of(cls, turn: Turn, error: DocuChatError | None = None) -> TurnDetails:
        """Present."""
        return cls(
            turn_id=turn.id,
            chat_id=turn.chat_id,
            message_id=turn.message_id,
            session_id=turn.session_id,
            error_code=None if error is None else error.code,
        )


class ResponseView(BaseModel):
    """An answer as a response; `docuchat` has what OpenAI has no words for."""

    id: str = Field(examples=["resp_019a00000000700080000000000000aa019a00000000700080000000000000ab"])
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Status
    background: bool
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str = Field(
        description="What was asked, by its name in `GET /v1/models`; the other model where one stood by."
    )
    output: list[OutputMessage]
    parallel_tool_calls: bool = False
    previous_response_id: str | None
    reasoning: dict[str, None] = {"effort": None, "summary": None}
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool
    temperature: float | None
    text: dict[str, dict[str, str]] = {"format": {"type": "text"}}
    tool_choice: Literal["auto"] = "auto"
    tools: list[dict[str, Any]]
    top_p: float | None = None
    truncation: Literal["auto"] = Field(default="auto", description="What leaves no room for sources is left out.")
    usage: ResponseUsage | None = None
    user: str | None
    docuchat: AnswerDetails | TurnDetails

    @classmethod
    def begun(cls, turn: Turn, given: Given) -> ResponseView:
        """Present a turn that is being answered."""
        return cls(
            id=id_of(turn),
            created_at=int(turn.created_at.timestamp()),
            status="in_progress",
            background=given.background,
            instructions=given.instructions,
            max_output_tokens=given.max_output_tokens,
            metadata=dict(given.metadata),
            model=given.name_of(turn),
            output=[],
            previous_response_id=given.previous_response_id,
            safety_identifier=given.safety_identifier,
            store=given.store,
            temperature=given.temperature,
            tools=[dict(tool) for tool in given.tools],
            user=given.user,
            docuchat=TurnDetails.of(turn),
        )

    @classmethod
    def of(cls, answer: Answer, given: Given) -> ResponseView:
        """Present a whole answer."""
        details = AnswerDetails.of(answer)
        reason = incomplete_reason(details.finish_reason)
        return cls.begun(answer.turn, given).model_copy(
            update={
                "status": status_of(details.finish_reason),
                "completed_at": int(answer.message.created_at.timestamp()),
                "incomplete_details": None if reason is None else IncompleteDetails(reason=reason),
                "output": [message_of(answer)],
                "usage": ResponseUsage.of(answer),
                "docuchat": details,
            }
        )

    @classmethod
    def failed(cls, turn: Turn, text: str, error: DocuChatError, given: Given) -> ResponseView:
        """Present what was written of an answer that something else than its model ended."""
        part = OutputText(text=text, annotations=[])
        message = OutputMessage(id=answer_item_of(turn), status="incomplete", content=[part])
        return cls.begun(turn, given).model_copy(
            update={
                "status": "failed",
                "error": ResponseError.of(error),
                "output": [message] if text else [],
                "docuchat": TurnDetails.of(turn, error),
            }
        )


def message_of(answer: Answer) -> OutputMessage:
    """Return an answer as an item."""
    message = answer.message
    annotations = [FileCitation.of(mark) for mark in marks_of(message.content, message.citations)]
    return OutputMessage(
        id=answer_item_of(answer.turn),
        status="completed" if status_of(message.metadata.get("finish_reason", "stop")) == "completed" else "incomplete",
        content=[OutputText(text=message.content, annotations=annotations)],
    )


class InputTextPart(BaseModel):
    """A part of a question."""

    type: Literal["input_text"] = "input_text"
    text: str


class InputItem(BaseModel):
    """A question as it is kept."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["user"] = "user"
    status: Literal["completed"] = "completed"
    content: list[InputTextPart]


class InputItemList(BaseModel):
    """What a response answers: its question. What was said before is in the responses before it."""

    object: Literal["list"] = "list"
    data: list[InputItem]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class DeletedResponse(BaseModel):
    """A response that is gone."""

    id: str
    object: Literal["response.deleted"] = "response.deleted"
    deleted: Literal[True] = True
