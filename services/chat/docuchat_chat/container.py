"""What routes reach of the running service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from docuchat_chat.answers.service import SearchService
from docuchat_chat.attachments.service import AttachmentService
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.feedback.service import FeedbackService
from docuchat_chat.insights.service import InsightService
from docuchat_chat.mcp.server import McpServer
from docuchat_chat.openai_api.embeddings import Embeddings
from docuchat_chat.openai_api.responses_service import Responses
from docuchat_chat.openai_api.routes import OpenAI
from docuchat_chat.presence.service import PresenceService
from docuchat_chat.providers.service import ProviderService
from docuchat_chat.settings import Settings
from docuchat_chat.sharing.service import SharingService
from docuchat_chat.transcripts.service import TranscriptService
from docuchat_chat.turns.responding import Turns
from docuchat_common.background import Background
from docuchat_common.exporting import Exporter
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import Idempotency
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.sealing import SealedAnswers


@dataclass(frozen=True, slots=True)
class Container:
    """What routes reach of a running service: use cases, no adapters."""

    settings: Settings
    verifier: TokenVerifier
    search: SearchService
    attachments: AttachmentService
    conversations: ConversationService
    feedback: FeedbackService
    transcripts: TranscriptService
    sharing: SharingService
    presence: PresenceService
    chatbots: ChatbotService
    insights: InsightService
    providers: ProviderService
    embeddings: Embeddings
    turns: Turns
    openai: OpenAI
    mcp: McpServer
    responses: Responses
    idempotency: Idempotency
    sealed_answers: SealedAnswers
    exporter: Exporter
    refusals: Refusals
    background: Background
    dead_letters: DeadLetterOffice
    checks: Mapping[str, Check]
    watched: Mapping[str, Check]
