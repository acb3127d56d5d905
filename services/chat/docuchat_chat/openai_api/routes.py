"""HTTP of models and chat completions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Final

from fastapi import APIRouter, Path

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.chatbots.errors import ChatbotNotPublished
from docuchat_chat.openai_api.completions import CompletionFrames, completion_of
from docuchat_chat.openai_api.errors import InvalidParameter, ModelNotFound, UnsupportedParameter
from docuchat_chat.openai_api.refusals import as_refusal
from docuchat_chat.openai_api.schemas import (
    ChatCompletion,
    ChatCompletionBody,
    ModelList,
    ModelView,
)
from docuchat_chat.openai_api.service import Models
from docuchat_chat.turns.responding import ASKING_ERRORS, Held, respond
from docuchat_common.audit import audited
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import IdempotencyKey
from docuchat_common.http.json_body import LONG_CONVERSATION, JsonRoute, TextRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises, reference
from docuchat_common.http.provided import provided
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound


class ConversationRoute(TextRoute):
    """A JSON route whose body has all that was said so far."""

    MAX_BYTES: ClassVar[int] = LONG_CONVERSATION


@dataclass(frozen=True, slots=True)
class OpenAI:
    """What the routes use of the container besides turns."""

    models: Models
    longest_message: int


HeldModels = Annotated[OpenAI, provided("openai")]
Asker = Annotated[Caller, requires("models.use")]

models_router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["openai"])
router = APIRouter(prefix="/v1", route_class=ConversationRoute, tags=["openai"])

_CHUNKS: Final[Responses] = {
    200: {
        "description": "With `stream: true` server-sent events, whose data are chunks and at last `[DONE]`.",
        "headers": {"X-Turn-ID": {"description": "With a stream: its turn.", "schema": {"type": "string"}}},
        "content": {"text/event-stream": {"schema": reference("ChatCompletionEvent")}},
    }
}
REFUSALS: Final = tuple(
    error for error in ASKING_ERRORS if error not in (ModelNotAllowed, ChatbotNotFound, ChatbotNotPublished)
)
"""What any question may end with, in the words of others."""


@models_router.get("/models", summary="List what can be asked")
async def list_models(caller: Asker, openai: HeldModels) -> ModelList:
    """List the models and chatbots that the caller may ask; a chatbot's key asks its chatbot alone."""
    return ModelList(data=[ModelView.of(model) for model in await openai.models.list_models(caller)])


@models_router.get("/models/{model_id:path}", summary="One thing that can be asked")
@raises(ModelNotFound)
async def get_model(
    model_id: Annotated[str, Path(max_length=200, description="Its name in `GET /v1/models`.")],
    caller: Asker,
    openai: HeldModels,
) -> ModelView:
    """Return a model or a chatbot by its name."""
    return ModelView.of(await openai.models.get_model(caller, model_id))


@router.post(
    "/chat/completions", summary="Ask as OpenAI's clients do", response_model=ChatCompletion, responses=_CHUNKS
)
@raises(*REFUSALS, ModelNotFound, UnsupportedParameter, InvalidParameter, CollectionNotFound, DocumentNotFound)
@audited("chat.ask")
async def create_chat_completion(
    body: ChatCompletionBody, caller: Asker, held: Held, openai: HeldModels, key: IdempotencyKey = None
) -> Any:
    """Answer a question from the tenant's documents, or as one of its chatbots, in OpenAI's shape.

    `docuchat` in the answer has the checked citations. What is not supported is refused by its name, with 400.
    """
    asked = openai.models.resolve(caller, body.model)
    question = body.to_question(asked, openai.longest_message)
    include_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    try:
        return await respond(
            held,
            caller,
            question,
            key,
            stream=bool(body.stream),
            present=partial(completion_of, model=asked.id),
            frames=CompletionFrames(
                asked.id, include_usage=include_usage, ends_with_reader=key is None and not question.is_kept
            ),
        )
    except (ModelNotAllowed, ChatbotNotFound, ChatbotNotPublished) as error:
        raise as_refusal(error) from error
