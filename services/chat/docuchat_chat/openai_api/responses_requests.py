"""Requests for responses: what is taken of them, and what is refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, WithJsonSchema

from docuchat_chat.openai_api.domain import Asked
from docuchat_chat.openai_api.errors import InvalidParameter, UnsupportedParameter
from docuchat_chat.openai_api.parameters import Extension, Ignored, OpenAIBody, only
from docuchat_chat.openai_api.responses import Given, parse_response_id
from docuchat_chat.openai_api.responses_errors import PreviousResponseNotFound
from docuchat_chat.openai_api.responses_input import Input, read_input
from docuchat_chat.openai_api.schemas import MOST_MESSAGES, MostTokens
from docuchat_chat.turns.domain import Branch, BranchKind, Question
from docuchat_common.http.json_body import Flag
from docuchat_common.ids import CollectionId, MessageId

MOST_METADATA: Final = 16
_ITEM: Final = {
    "anyOf": [
        {
            "type": "object",
            "title": "InputMessageItem",
            "properties": {
                "type": {"const": "message"},
                "role": {"type": "string", "enum": ["user", "assistant", "system", "developer"]},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "type": {"type": "string", "enum": ["input_text", "output_text", "text"]},
                                    "text": {"type": "string"},
                                },
                                "required": ["type", "text"],
                            },
                        },
                    ]
                },
            },
            "required": ["role", "content"],
        },
        {
            "type": "object",
            "title": "ItemReference",
            "properties": {"type": {"const": "item_reference"}, "id": {"type": "string"}},
            "required": ["type", "id"],
        },
    ]
}
_TOOL: Final = {
    "type": "object",
    "title": "FileSearchTool",
    "properties": {
        "type": {"const": "file_search"},
        "vector_store_ids": {"type": "array", "maxItems": 1, "items": {"type": "string", "format": "uuid"}},
    },
    "required": ["type"],
}

InputItemGiven = Annotated[dict[str, Any], WithJsonSchema(_ITEM)]
Tool = Annotated[dict[str, Any], WithJsonSchema(_TOOL)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class ResponseStreamOptions(OpenAIBody):
    """What a stream says besides: nothing."""

    include_obfuscation: only(False) = None  # type: ignore[valid-type]  # made by a function, as its values say


class ResponseBody(OpenAIBody):
    """A question in the shape of OpenAI's responses."""

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [{"model": "gpt-4o-mini", "input": "How long is the warranty?"}],
        }
    )

    model: str = Field(
        min_length=1, max_length=200, description="A name of `GET /v1/models`: a model, or `chatbot/<id>`."
    )
    input: str | Annotated[list[InputItemGiven], Field(min_length=1, max_length=MOST_MESSAGES)] = Field(
        description="The question, or a list of messages of which the last one is the question; up to "
        "MAX_MESSAGE_CHARS characters. What was said before is its history, as much as MAX_HISTORY_TOKENS allows. A "
        "reference to an answer (`item_reference`) stands for all that was said up to it."
    )
    instructions: str | None = Field(
        default=None,
        description="How it is to be answered, below the rules of the product and of the chatbot. As OpenAI has it, "
        "they are not carried over by `previous_response_id`.",
    )
    previous_response_id: str | None = Field(
        default=None, max_length=100, description="The response that the question follows, in its chat."
    )
    stream: Flag | None = Field(default=None, description="Answer as server-sent events.")
    stream_options: ResponseStreamOptions | None = None
    background: Flag | None = Field(
        default=None,
        description="Answer at once with `in_progress`, for who asks again at `GET /v1/responses/{response_id}`.",
    )
    store: Flag | None = Field(
        default=None,
        description="`false`: nobody is shown question and answer again, nothing can follow them, and they are deleted "
        "once they are booked. Otherwise they are kept as a chat of the caller's.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: MostTokens | None = Field(
        default=None, description="The longest answer; MAX_OUTPUT_TOKENS is the longest in any case."
    )
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_METADATA)] | None = Field(
        default=None, description="Given back with the response."
    )
    tools: Annotated[list[Tool], Field(max_length=1)] | None = Field(
        default=None,
        description="Answers always search the documents. `file_search` with the id of a collection as the one of its "
        "`vector_store_ids` searches that collection alone; there is no other tool.",
    )
    user: str | None = Field(default=None, max_length=512, description="Given back with the response.")
    safety_identifier: str | None = Field(default=None, max_length=512, description="Given back with the response.")
    docuchat: Extension | None = Field(default=None, description="What OpenAI has no words for.")
    truncation: only("auto", "disabled") = None  # type: ignore[valid-type]
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    parallel_tool_calls: Ignored = None
    max_tool_calls: Ignored = None
    text: Annotated[dict[str, Any], Field(max_length=10)] | None = Field(
        default=None, description='Nothing but `{"format": {"type": "text"}}` is taken.'
    )
    tool_choice: only("auto", "none", {"type": "file_search"}) = None  # type: ignore[valid-type]
    include: only([]) = None  # type: ignore[valid-type]
    top_p: only(1) = None  # type: ignore[valid-type]
    top_logprobs: only(0) = None  # type: ignore[valid-type]
    reasoning: only({}) = None  # type: ignore[valid-type]
    service_tier: only("auto", "default") = None  # type: ignore[valid-type]
    conversation: only() = None  # type: ignore[valid-type]
    prompt: only() = None  # type: ignore[valid-type]
    context_management: only([]) = None  # type: ignore[valid-type]

    def to_question(self, asked: Asked, longest: int) -> tuple[Question, Given]:
        """Return the question, and what is told again of the request.

        Raises what `read_input` does, and PreviousResponseNotFound.
        """
        self._check_text()
        said = read_input(self.input, self.instructions or "", longest)
        more = self.docuchat or Extension()
        before = self._before(said)
        if self.store is False:
            self._check_unkept(more, before)
        if before is not None and said.history:
            raise InvalidParameter.named(
                "input", "has messages that were said before, and so has the response that it follows; send the new one"
            )
        given = Given(
            model=asked.id,
            instructions=self.instructions,
            previous_response_id=self.previous_response_id,
            temperature=self.temperature,
            max_output_tokens=self.max_output_tokens,
            metadata=self.metadata or {},
            tools=self.tools or (),
            background=bool(self.background),
            store=self.store is not False,
            user=self.user,
            safety_identifier=self.safety_identifier,
        )
        goes_on = before is not None or (more.session_id is not None and not said.history)
        question = Question(
            text=said.question,
            model=asked.model,
            session_id=more.session_id,
            branch=None if before is None else Branch(BranchKind.FOLLOW, before),
            document_ids=more.document_ids,
            collection_id=self._collection(more),
            chatbot_id=asked.chatbot_id,
            history=None if goes_on else said.history,
            wishes=said.wishes,
            temperature=self.temperature,
            max_output_tokens=self.max_output_tokens,
            is_kept=given.store,
            given=given.to_fields(),
        )
        return question, given

    def _before(self, said: Input) -> MessageId | None:
        """Return the answer that the question follows."""
        if self.previous_response_id is None:
            return said.reference
        previous = parse_response_id(self.previous_response_id)
        if previous is None:
            raise PreviousResponseNotFound(param="previous_response_id")
        if said.reference is not None:
            raise InvalidParameter.named(
                "input", "refers to an answer, and `previous_response_id` to another place; send one of them"
            )
        return previous.message_id

    def _check_unkept(self, more: Extension, before: MessageId | None) -> None:
        if before is not None:
            raise UnsupportedParameter.named("store", "what follows a stored response is stored with it")
        if self.background:
            raise UnsupportedParameter.named("background", "what is answered in the background is stored")
        if more.session_id is not None:
            raise UnsupportedParameter.named("docuchat.session_id", "what has a session is kept: leave `store` out")

    def _check_text(self) -> None:
        taken = {"format": ({"type": "text"}, None), "verbosity": ("medium", None)}
        for name, value in (self.text or {}).items():
            if value not in taken.get(name, (None,)):
                raise UnsupportedParameter.named(f"text.{name[:100]}", "an answer is text, with its citations")

    def _collection(self, more: Extension) -> CollectionId | None:
        named = [collection for tool in self.tools or () if (collection := _searched(tool)) is not None]
        if named and more.collection_id not in (None, *named):
            raise InvalidParameter.named("tools[0].vector_store_ids", "and `docuchat.collection_id` are not the same")
        return named[0] if named else more.collection_id


def _searched(tool: Mapping[str, Any]) -> CollectionId | None:
    if tool.get("type") != "file_search":
        raise UnsupportedParameter.named("tools[0].type", "the one tool there is is `file_search`")
    for name, value in tool.items():
        if name not in ("type", "vector_store_ids") and value not in (None, {}):
            raise UnsupportedParameter.named(f"tools[0].{name[:100]}")
    stores = tool.get("vector_store_ids")
    if not stores:
        return None
    if not isinstance(stores, list) or len(stores) > 1:
        raise UnsupportedParameter.named("tools[0].vector_store_ids", "name one collection, or none to search all")
    try:
        return CollectionId(UUID(stores[0]))
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidParameter.named("tools[0].vector_store_ids[0]", "is not the id of a collection") from error
