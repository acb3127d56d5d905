"""The application that uvicorn runs."""

from __future__ import annotations

from fastapi import FastAPI

from docuchat_chat.answers.routes import router as search
from docuchat_chat.attachments.internal import router as attachments
from docuchat_chat.bootstrap import open_container
from docuchat_chat.chatbots.internal import router as chatbot_names
from docuchat_chat.chatbots.public_routes import router as chatbots_in_public
from docuchat_chat.chatbots.routes import router as chatbots
from docuchat_chat.conversations.routes import internal
from docuchat_chat.conversations.routes import router as conversations
from docuchat_chat.feedback.routes import router as feedback
from docuchat_chat.insights.routes import router as insights
from docuchat_chat.mcp.routes import router as mcp
from docuchat_chat.openai_api.embedding_routes import router as embeddings
from docuchat_chat.openai_api.responses_routes import router as openai_responses
from docuchat_chat.openai_api.responses_routes import stored_router as stored_responses
from docuchat_chat.openai_api.responses_stream import RESPONSE_EVENT
from docuchat_chat.openai_api.routes import models_router as openai_models
from docuchat_chat.openai_api.routes import router as openai
from docuchat_chat.openai_api.schemas import COMPLETION_EVENT
from docuchat_chat.presence.routes import router as presence
from docuchat_chat.providers.operator_routes import operator as platform_providers
from docuchat_chat.providers.routes import router as providers
from docuchat_chat.settings import Settings
from docuchat_chat.sharing.routes import router as sharing
from docuchat_chat.transcripts.routes import router as transcripts
from docuchat_chat.turns.chatbot_routes import router as asking_chatbots
from docuchat_chat.turns.routes import router as turns
from docuchat_common.http.app import create_service_app
from docuchat_common.http.dead_letters import router as dead_letters
from docuchat_common.http.exports import router as exports


def create_app(settings: Settings) -> FastAPI:
    """HTTP, relay, board and sweep in one process."""
    return create_service_app(
        settings,
        title="DocuChat chat",
        streamed={"ResponseEvent": RESPONSE_EVENT, "ChatCompletionEvent": COMPLETION_EVENT},
        routers=[
            turns,
            asking_chatbots,
            conversations,
            feedback,
            transcripts,
            sharing,
            presence,
            chatbots,
            chatbots_in_public,
            insights,
            providers,
            platform_providers,
            openai_models,
            openai,
            openai_responses,
            stored_responses,
            embeddings,
            search,
            mcp,
            internal,
            chatbot_names,
            attachments,
            dead_letters,
            exports,
        ],
        open_container=open_container,
    )
