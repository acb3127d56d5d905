"""Requests and responses of models and chat completions, as OpenAI's clients know them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, WithJsonSchema

from docuchat_chat.answers.schemas import CitationView
from docuchat_chat.openai_api.domain import Asked, Model
from docuchat_chat.openai_api.errors import UnsupportedParameter
from docuchat_chat.openai_api.messages import read_messages
from docuchat_chat.openai_api.parameters import Extension, Ignored, OpenAIBody, only
from docuchat_chat.turns.answering import Answer
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.schemas import fallback_of
from docuchat_common.contracts.frames import FallbackReference, FinishReason, SearchedAs
from docuchat_common.contracts.openai_errors import OpenAIError
from docuchat_common.http.json_body import Flag, Whole

MOST_MESSAGES: Final = 1000
_TEXT: Final = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                "required": ["type", "text"],
            },
        },
        {"type": "null"},
    ]
}
_MESSAGE: Final = {
    "type": "object",
    "title": "InputMessage",
    "properties": {
        "role": {"type": "string", "enum": ["user", "assistant", "system", "developer"]},
        "content": _TEXT,
        "name": {"type": "string", "description": "Taken, and without effect."},
    },
    "required": ["role"],
}

InputMessage = Annotated[dict[str, Any], WithJsonSchema(_MESSAGE)]
MostTokens = Annotated[Whole, Field(ge=1, le=2**31 - 1)]


class StreamOptions(OpenAIBody):
    """What a stream says besides."""

    include_usage: Flag | None = Field(default=None, description="One more chunk, without choices, with the usage.")
    include_obfuscation: only(False) = None  # type: ignore[valid-type]  # made by a function, as its values say


class ChatCompletionBody(OpenAIBody):
    """A question in OpenAI's shape: the last message of the user, and what was said before."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [
                {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How long is the warranty?"}]}
            ],
        }
    )

    model: str = Field(
        min_length=1, max_length=200, description="A name of `GET /v1/models`: a model, or `chatbot/<id>`."
    )
    messages: list[InputMessage] = Field(
        min_length=1,
        max_length=MOST_MESSAGES,
        description="The last message of the user is the question; up to MAX_MESSAGE_CHARS characters. What was said "
        "before is its history, as much as MAX_HISTORY_TOKENS allows. What the system or the developer says stands "
        "below the rules of the product and of the chatbot.",
    )
    stream: Flag | None = Field(default=None, description="Answer as server-sent events `chat.completion.chunk`.")
    stream_options: StreamOptions | None = None
    store: Flag | None = Field(
        default=None,
        description="`true` keeps question and answer as a chat of the caller's. Otherwise nobody is shown them again, "
        "and they are deleted once they are booked.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_completion_tokens: MostTokens | None = Field(
        default=None, description="The longest answer; MAX_OUTPUT_TOKENS is the longest in any case."
    )
    max_tokens: MostTokens | None = Field(default=None, description="As `max_completion_tokens`.")
    docuchat: Extension | None = Field(default=None, description="What OpenAI has no words for.")
    user: Ignored = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    seed: Ignored = None
    metadata: Ignored = None
    parallel_tool_calls: Ignored = None
    n: only(1) = None  # type: ignore[valid-type]
    top_p: only(1) = None  # type: ignore[valid-type]
    frequency_penalty: only(0) = None  # type: ignore[valid-type]
    presence_penalty: only(0) = None  # type: ignore[valid-type]
    logit_bias: only({}) = None  # type: ignore[valid-type]
    logprobs: only(False) = None  # type: ignore[valid-type]
    top_logprobs: only(0) = None  # type: ignore[valid-type]
    stop: only([], "") = None  # type: ignore[valid-type]
    tools: only([]) = None  # type: ignore[valid-type]
    tool_choice: only("none", "auto") = None  # type: ignore[valid-type]
    functions: only([]) = None  # type: ignore[valid-type]
    function_call: only("none", "auto") = None  # type: ignore[valid-type]
    response_format: only({"type": "text"}) = None  # type: ignore[valid-type]
    modalities: only(["text"]) = None  # type: ignore[valid-type]
    service_tier: only("auto", "default") = None  # type: ignore[valid-type]
    verbosity: only("medium") = None  # type: ignore[valid-type]

    def to_question(self, asked: Asked, longest: int) -> Question:
        """Return the question. Raises what `read_messages` does, and UnsupportedParameter."""
        said = read_messages(self.messages, longest)
        more = self.docuchat or Extension()
        if self.store is False and more.session_id is not None:
            raise UnsupportedParameter.named("docuchat.session_id", "what has a session is kept: leave `store` out")
        if self.store and self.metadata:
            raise UnsupportedParameter.named("metadata", "it is not kept with what is stored")
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        goes_on = more.session_id is not None and not said.history
        return Question(
            text=said.question,
            model=asked.model,
            session_id=more.session_id,
            document_ids=more.document_ids,
            collection_id=more.collection_id,
            chatbot_id=asked.chatbot_id,
            history=None if goes_on else said.history,
            wishes=said.wishes,
            temperature=self.temperature,
            max_output_tokens=min(limits, default=None),
            is_kept=bool(self.store) or more.session_id is not None,
        )


class ModelView(BaseModel):
    """Something that can be asked."""

    id: str = Field(description="What a request names as its `model`.", examples=["gpt-4o-mini", "chatbot/019a…"])
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970; 0 of a model, whose age is not known.")
    owned_by: str = Field(description="Its provider; `organization` for a chatbot of the tenant.")
    name: str
    kind: Literal["model", "chatbot", "embedding"]

    @classmethod
    def of(cls, model: Model) -> ModelView:
        """Present."""
        created = 0 if model.created_at is None else int(model.created_at.timestamp())
        return cls(id=model.id, created=created, owned_by=model.owned_by, name=model.name, kind=model.kind)


class ModelList(BaseModel):
    """All that a caller may ask."""

    object: Literal["list"] = "list"
    data: list[ModelView]


class CompletionUsage(BaseModel):
    """The tokens of the call, as they are booked."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, answer: Answer) -> CompletionUsage:
        """Present."""
        used = answer.message.usage
        taken, given = (0, 0) if used is None else (used.input_tokens, used.output_tokens)
        return cls(prompt_tokens=taken, completion_tokens=given, total_tokens=taken + given)


class AnswerDetails(BaseModel):
    """What OpenAI has no words for."""

    turn_id: UUID
    chat_id: UUID
    message_id: UUID
    session_id: str
    model: str = Field(description="The model that answered.")
    fallback: FallbackReference | None = Field(default=None, description="Set where that is not the one asked first.")
    chatbot_id: UUID | None = Field(default=None, description="The chatbot that answered, if one did.")
    chatbot_version: int | None = None
    finish_reason: FinishReason = Field(description="As of `POST /v1/chat`.")
    citations: list[CitationView]
    own_knowledge: list[str] = Field(description="The sentences that rest on no document, where such are allowed.")
    searched_as: SearchedAs = None
    notice: str | None = Field(default=None, description="What the reader should know about the search.")

    @classmethod
    def of(cls, answer: Answer) -> AnswerDetails:
        """Present."""
        turn, message = answer.turn, answer.message
        return cls(
            turn_id=turn.id,
            chat_id=turn.chat_id,
            message_id=turn.message_id,
            session_id=turn.session_id,
            model=turn.model,
            fallback=fallback_of(turn),
            chatbot_id=turn.chatbot_id,
            chatbot_version=turn.chatbot_version,
            finish_reason=message.metadata.get("finish_reason", "stop"),
            citations=[CitationView.of(citation) for citation in message.citations],
            own_knowledge=message.metadata.get("own_knowledge", []),
            searched_as=turn.searched_as,
            notice=turn.notice,
        )


Finish = Literal["stop", "length", "content_filter"]


def finish_of(reason: FinishReason) -> Finish:
    """Return why an answer ended, in OpenAI's words: what has none there ended by itself."""
    return reason if reason in ("length", "content_filter") else "stop"


class CompletionMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class CompletionChoice(BaseModel):
    """The one choice."""

    index: Literal[0] = 0
    message: CompletionMessage
    logprobs: None = None
    finish_reason: Finish


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str = Field(examples=["chatcmpl-019a00000000700080000000000000aa"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = Field(
        description="What was asked, by its name in `GET /v1/models`; the other model where one stood by."
    )
    choices: list[CompletionChoice]
    usage: CompletionUsage
    docuchat: AnswerDetails


class ChunkDelta(BaseModel):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """What is new of the one choice."""

    index: Literal[0] = 0
    delta: ChunkDelta
    logprobs: None = None
    finish_reason: Finish | None = None


class ChatCompletionChunk(BaseModel):
    """One event of a streamed answer; the last one is followed by `data: [DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    docuchat: AnswerDetails | None = Field(default=None, description="In the chunk that has the `finish_reason`.")


ChatCompletionEvent = ChatCompletionChunk | OpenAIError
COMPLETION_EVENT: Final[TypeAdapter[ChatCompletionEvent]] = TypeAdapter(ChatCompletionEvent)
"""The data of one event of a streamed answer, but `[DONE]`: a chunk, or what ended it early."""
