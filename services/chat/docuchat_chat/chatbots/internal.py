"""What other services ask about chatbots."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from docuchat_chat.chatbots.service import ChatbotService
from docuchat_common.contracts.chatbot_names import GONE_PATH, PATH, ChatbotIds, ChatbotName
from docuchat_common.http.identity import require_internal_token
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.provided import provided
from docuchat_common.ids import ChatbotId, TenantId

router = APIRouter(route_class=TextRoute, include_in_schema=False)


@router.get(PATH, dependencies=[Depends(require_internal_token)])
async def get_name(
    chatbot_id: UUID,
    tenant_id: Annotated[int, Query(ge=1, lt=1 << 63)],
    chatbots: Annotated[ChatbotService, provided("chatbots")],
) -> ChatbotName:
    """Tell that a chatbot is there."""
    return ChatbotName(name=await chatbots.get_name(TenantId(tenant_id), ChatbotId(chatbot_id)))


@router.post(GONE_PATH, dependencies=[Depends(require_internal_token)])
async def list_gone(body: ChatbotIds, chatbots: Annotated[ChatbotService, provided("chatbots")]) -> ChatbotIds:
    """Tell which chatbots are gone."""
    asked = [ChatbotId(chatbot_id) for chatbot_id in body.chatbot_ids]
    gone = await chatbots.list_gone(TenantId(body.tenant_id), asked)
    return ChatbotIds(tenant_id=body.tenant_id, chatbot_ids=tuple(gone))
