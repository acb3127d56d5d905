"""HTTP of responses."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.chatbots.errors import ChatbotNotPublished
from docuchat_chat.conversations.errors import AnswerInProgress, ChatNotFound
from docuchat_chat.feedback.errors import MessageNotFound
from docuchat_chat.openai_api.errors import InvalidParameter, ModelNotFound, UnsupportedParameter
from docuchat_chat.openai_api.refusals import as_refusal
from docuchat_chat.openai_api.responses import item_of
from docuchat_chat.openai_api.responses_errors import (
    PreviousResponseNotFound,
    ResponseContinued,
    ResponseInProgress,
    ResponseNotFound,
)
from docuchat_chat.openai_api.responses_events import ResponseEvents
from docuchat_chat.openai_api.responses_requests import ResponseBody
from docuchat_chat.openai_api.responses_service import Responses
from docuchat_chat.openai_api.responses_views import (
    DeletedResponse,
    InputItem,
    InputItemList,
    InputTextPart,
    ResponseView,
)
from docuchat_chat.openai_api.routes import REFUSALS, Asker, ConversationRoute, HeldModels
from docuchat_chat.turns.responding import Held, respond
from docuchat_chat.turns.streaming import EventStream
from docuchat_common.acts import excuse_act
from docuchat_common.audit import audited
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.http.idempotency import IdempotencyKey
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import Responses as Documented
from docuchat_common.http.problems import raises, reference
from docuchat_common.http.provided import provided
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.errors import DocumentNotFound

router = APIRouter(prefix="/v1", route_class=ConversationRoute, tags=["openai"])
stored_router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["openai"])

HeldResponses = Annotated[Responses, provided("responses")]
ResponsePath = Annotated[str, Path(max_length=100, description="Id of a response of one's own.")]

_EVENTS: Final[Documented] = {
    200: {
        "description": "With `stream: true` server-sent events, in this order: `response.created`, "
        "`response.in_progress`, `response.output_item.added`, `response.content_part.added`, "
        "`response.output_text.delta` (the text, piece by piece), `response.output_text.annotation.added` (one for "
        "each place that cites), `response.output_text.done`, `response.content_part.done`, "
        "`response.output_item.done`, and at last `response.completed`, `response.incomplete` (cut, or cancelled) or "
        "`response.failed`. Each has its `sequence_number`, from 0, with which `GET /v1/responses/{response_id}` goes "
        "on. What is refused once the stream has begun is an `error`.",
        "headers": {"X-Turn-ID": {"description": "With a stream: its turn.", "schema": {"type": "string"}}},
        "content": {"text/event-stream": {"schema": reference("ResponseEvent")}},
    }
}


@router.post("/responses", summary="Ask as OpenAI's newer clients do", response_model=ResponseView, responses=_EVENTS)
@raises(
    *REFUSALS,
    ModelNotFound,
    UnsupportedParameter,
    InvalidParameter,
    PreviousResponseNotFound,
    ResponseInProgress,
    CollectionNotFound,
    DocumentNotFound,
)
@audited("chat.ask")
async def create_response(
    body: ResponseBody, caller: Asker, held: Held, openai: HeldModels, key: IdempotencyKey = None
) -> Any:
    """Answer a question from the tenant's documents, or as one of its chatbots, in the shape of OpenAI's responses.

    The checked citations are annotations `file_citation` with page and quote. What is not supported is refused by its
    name, with 400.
    """
    asked = openai.models.resolve(caller, body.model)
    question, given = body.to_question(asked, openai.longest_message)
    try:
        if body.background and not body.stream:
            answering = await held.asking.ask(caller, question, key=key, attach=True)
            excuse_act()  # its entry is written when it is settled
            return ResponseView.begun(answering.turn, given)
        return await respond(
            held,
            caller,
            question,
            key,
            stream=bool(body.stream),
            present=partial(ResponseView.of, given=given),
            frames=ResponseEvents(given),
        )
    except (ModelNotAllowed, ChatbotNotFound, ChatbotNotPublished) as error:
        raise as_refusal(error) from error
    except (MessageNotFound, ChatNotFound) as error:
        raise PreviousResponseNotFound(param="previous_response_id") from error
    except AnswerInProgress as error:
        raise ResponseInProgress(param="previous_response_id") from error


@stored_router.get("/responses/{response_id}", summary="Get a response", response_model=ResponseView, responses=_EVENTS)
@raises(ResponseNotFound, InvalidParameter)
async def get_response(
    response_id: ResponsePath,
    caller: Asker,
    responses: HeldResponses,
    stream: Annotated[bool, Query(description="Stream its events, all or those behind `starting_after`.")] = False,
    starting_after: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="`sequence_number` of the last event received.")
    ] = None,
) -> Any:
    """Return a response as it stands, or its events again: the same numbers, and no second call of the model."""
    if not stream:
        if starting_after is not None:
            raise InvalidParameter.named("starting_after", "is for `stream=true`")
        return await responses.get(caller, response_id)
    frames = await responses.events(caller, response_id, -1 if starting_after is None else starting_after)
    return EventStream(frames, headers={})


@stored_router.post("/responses/{response_id}/cancel", summary="Cancel a response")
@raises(ResponseNotFound)
@audited("turn.stop")
async def cancel_response(response_id: ResponsePath, caller: Asker, responses: HeldResponses) -> ResponseView:
    """Stop a response that is being written, wherever it is; what was sent is kept, and only that is booked."""
    return await responses.cancel(caller, response_id)


@stored_router.delete("/responses/{response_id}", summary="Delete a response")
@raises(ResponseNotFound, ResponseContinued)
@audited("chat.delete")
async def delete_response(response_id: ResponsePath, caller: Asker, responses: HeldResponses) -> DeletedResponse:
    """Delete a response with its chat; one of a chat that has more answers is deleted with that: 409."""
    await responses.delete(caller, response_id)
    return DeletedResponse(id=response_id)


@stored_router.get("/responses/{response_id}/input_items", summary="What a response answers")
@raises(ResponseNotFound)
async def list_input_items(
    response_id: ResponsePath,
    caller: Asker,
    responses: HeldResponses,
    limit: Annotated[int, Query(ge=1, le=100, description="Taken; there is one item.")] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="Taken; there is one item.")] = "desc",
    after: Annotated[str | None, Query(max_length=100, description="The id of an item: what comes behind it.")] = None,
) -> InputItemList:
    """Return the question. What was said before stands in the responses before it, or was not kept."""
    question = await responses.question(caller, response_id)
    item = InputItem(id=item_of(question.id), content=[InputTextPart(text=question.content)])
    if after == item.id:
        return InputItemList(data=[], first_id=None, last_id=None)
    return InputItemList(data=[item], first_id=item.id, last_id=item.id)
