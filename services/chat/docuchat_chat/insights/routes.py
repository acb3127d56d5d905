"""HTTP of a chatbot's use."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.schemas import MessageView
from docuchat_chat.insights.domain import MOST_DAYS
from docuchat_chat.insights.schemas import AskedChatView, AskedChatWithMessages, InsightsView
from docuchat_chat.insights.service import InsightService
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging, moment, number
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import ChatbotId, ChatId

router = APIRouter(prefix="/v1/chatbots/{chatbot_id}", route_class=JsonRoute, tags=["chatbots"])

Held = Annotated[InsightService, provided("insights")]
Manager = Annotated[Caller, requires("chatbots.manage")]
ChatbotPath = Annotated[UUID, Path(description="Id of a chatbot.")]


@router.get("/conversations", summary="List the chats of a chatbot")
@raises(ChatbotNotFound)
async def list_conversations(
    chatbot_id: ChatbotPath, caller: Manager, insights: Held, paging: Paging
) -> Page[AskedChatView]:
    """List what users, visitors and programs talked about with a chatbot, the last used first."""
    before = paging.after(2, lambda at, text: (moment(at), ChatId(UUID(text))))
    found = await insights.list_chats(caller, ChatbotId(chatbot_id), paging.rows, before)
    return paging.page(found, AskedChatView.of, lambda chat: (chat.updated_at.isoformat(), chat.id))


@router.get("/conversations/{chat_id}", summary="Get a chat of a chatbot")
@raises(ChatbotNotFound, ChatNotFound)
async def get_conversation(
    chatbot_id: ChatbotPath,
    chat_id: Annotated[UUID, Path(description="Id of a chat.")],
    caller: Manager,
    insights: Held,
    paging: Paging,
) -> AskedChatWithMessages:
    """Get a chat with a chatbot and a page of its messages, branches and all, in order of time."""
    after = paging.after(1, number) or 0
    found = await insights.get_chat(caller, ChatbotId(chatbot_id), ChatId(chat_id), paging.rows, after)
    page = paging.page(found.messages, MessageView.of, lambda message: (message.seq,))
    shown = AskedChatView.of(found.chat).model_dump()
    return AskedChatWithMessages(**shown, messages=page.items, next_cursor=page.next_cursor)


@router.get("/insights", summary="Get the use of a chatbot")
@raises(ChatbotNotFound)
async def get_insights(
    chatbot_id: ChatbotPath,
    caller: Manager,
    insights: Held,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="Today and those before it, in UTC.")] = 30,
) -> InsightsView:
    """Get what was answered by day and version, which questions found nothing, and what readers thought of answers."""
    return InsightsView.of(await insights.get(caller, ChatbotId(chatbot_id), days))
