"""HTTP of chatbots for the pages that show them, without a credential."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from docuchat_chat.answers.text import Language
from docuchat_chat.chatbots.domain import Chatbot, Version
from docuchat_chat.chatbots.errors import ChatbotNotPublished
from docuchat_chat.chatbots.schemas import ColoursBody
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_common.contracts.chatbots import ChatbotNotFound, parse_chatbot_id, publishable_id
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import ChatbotId

router = APIRouter(prefix="/v1/public/chatbots", route_class=TextRoute, tags=["chatbots"])


class ShownChatbot(BaseModel):
    """What a page shows of a chatbot, as its live version says."""

    publishable_id: str
    name: str
    version: int
    greeting: str | None
    suggested_questions: list[str]
    language: Language | None = Field(description="What it answers in; null is the language of the question.")
    colours: ColoursBody

    @classmethod
    def of(cls, chatbot: Chatbot, version: Version) -> ShownChatbot:
        """Present."""
        config = version.config
        return cls(
            publishable_id=publishable_id(chatbot.id),
            name=chatbot.name,
            version=version.number,
            greeting=config.greeting,
            suggested_questions=list(config.suggested_questions),
            language=config.language,
            colours=ColoursBody(
                accent=config.colours.accent, background=config.colours.background, text=config.colours.text
            ),
        )


@router.get("/{publishable_id}", summary="Get what a page shows of a chatbot")
@raises(ChatbotNotFound, ChatbotNotPublished)
@public
async def show_chatbot(
    chatbots: Annotated[ChatbotService, provided("chatbots")],
    named: Annotated[
        str, Path(alias="publishable_id", max_length=100, description="Publishable id of a chatbot, or its id.")
    ],
) -> ShownChatbot:
    """Get name, greeting, suggested questions, language and colours of a published chatbot: all that a widget draws.

    Nothing of it is secret; to ask takes a visitor's token, which only pages of the chatbot's `origins` get.
    """
    chatbot_id = parse_chatbot_id(named)
    if chatbot_id is None:
        raise ChatbotNotFound
    return ShownChatbot.of(*await chatbots.show(ChatbotId(chatbot_id)))
