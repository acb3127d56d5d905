"""HTTP of asking chatbots."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path

from docuchat_chat.chatbots.errors import ChatbotNotPublished, ChatbotVersionNotFound
from docuchat_chat.turns.responding import ASKING_ERRORS, EVENTS, Held, respond
from docuchat_chat.turns.schemas import ChatbotAnswer, ChatbotQuestion, ChatbotTrial
from docuchat_common.audit import audited
from docuchat_common.contracts.chatbots import ChatbotNotFound, parse_chatbot_id
from docuchat_common.contracts.holds import DemoLimitReached
from docuchat_common.http.addresses import client_address
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import IdempotencyKey
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.ids import ChatbotId

router = APIRouter(prefix="/v1", route_class=TextRoute, tags=["chatbots"])

Asker = Annotated[Caller, requires("chats.use")]
PublicAsker = Annotated[Caller, requires("chatbots.ask")]


@router.post(
    "/chatbots/{chatbot_id}/query",
    summary="Ask a chatbot",
    response_model=ChatbotAnswer,
    responses=EVENTS,
)
@raises(*ASKING_ERRORS, ChatbotNotFound, ChatbotNotPublished, ChatbotVersionNotFound)
@audited("chatbot.ask")
async def query_chatbot(
    chatbot_id: Annotated[UUID, Path(description="Id of a chatbot.")],
    body: ChatbotTrial,
    caller: Asker,
    held: Held,
    key: IdempotencyKey = None,
) -> Any:
    """Ask a chatbot of the tenant, as `POST /v1/chat` with its `chatbot_id`.

    It answers from what its live version names, whoever asks. Who manages chatbots may try out another version.
    """
    question = body.to_question(ChatbotId(chatbot_id))
    return await respond(held, caller, question, key, stream=body.stream, present=ChatbotAnswer.of)


@router.post(
    "/public/chatbots/{publishable_id}/query",
    summary="Ask a chatbot in public",
    response_model=ChatbotAnswer,
    responses=EVENTS,
)
@raises(*ASKING_ERRORS, ChatbotNotFound, ChatbotNotPublished, DemoLimitReached)
@audited("chatbot.ask")
async def query_chatbot_in_public(
    publishable_id: Annotated[str, Path(max_length=100, description="Publishable id of a chatbot, or its id.")],
    body: ChatbotQuestion,
    caller: PublicAsker,
    held: Held,
    address: Annotated[str, Depends(client_address)],
    key: IdempotencyKey = None,
) -> Any:
    """Ask a chatbot with its own secret key, or with the token of one of its visitors.

    The chats of a key are told apart by `session_id`; a visitor sees the visitor's own. Streams are resumed and
    stopped as any. Messages of visitors are a demo: 429 `demo_limit_reached` names the `layer` that has none left.
    """
    chatbot_id = parse_chatbot_id(publishable_id)
    if chatbot_id is None:
        raise ChatbotNotFound
    question = body.to_question(ChatbotId(chatbot_id))
    return await respond(held, caller, question, key, stream=body.stream, address=address, present=ChatbotAnswer.of)
