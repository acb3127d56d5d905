"""The one transaction of the service: the repositories of its slices, search and outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from docuchat_chat.adapters.knowledge import KnowledgeSearch, OutdatedSets
from docuchat_chat.attachments.repository import AttachmentRepository
from docuchat_chat.chatbots.repository import ChatbotRepository
from docuchat_chat.conversations.legacies import LegacyRepository
from docuchat_chat.conversations.repository import ChatRepository
from docuchat_chat.feedback.repository import FeedbackRepository
from docuchat_chat.insights.repository import InsightRepository
from docuchat_chat.presence.repository import SessionRepository
from docuchat_chat.providers.repository import ProviderRepository
from docuchat_chat.sharing.repository import ShareRepository
from docuchat_chat.titles.repository import TitleRepository
from docuchat_chat.turns.repository import TurnRepository
from docuchat_common.erasure import Erasures
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_common.metering import ProviderCalls
from docuchat_common.retention import RetentionRules
from docuchat_knowledge.documents.passages import PassageReader
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.search.statistics import SearchStatistics
from docuchat_models.spaces import EmbeddingSpace


@dataclass(frozen=True, slots=True)
class ChatTx:
    """One transaction."""

    attachments: AttachmentRepository
    chatbots: ChatbotRepository
    chats: ChatRepository
    feedback: FeedbackRepository
    insights: InsightRepository
    providers: ProviderRepository
    shares: ShareRepository
    chat_sessions: SessionRepository
    titles: TitleRepository
    legacies: LegacyRepository
    turns: TurnRepository
    requests: IdempotentRequests
    search: KnowledgeSearch
    documents: DocumentRegistry
    passages: PassageReader
    calls: ProviderCalls
    erasures: Erasures
    retention: RetentionRules
    outbox: Outbox


def composer(space: EmbeddingSpace) -> Callable[[asyncpg.Connection, Outbox, Inbox], ChatTx]:
    """Return what composes a transaction that searches in this embedding space."""
    statistics, outdated = SearchStatistics(), OutdatedSets()

    def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> ChatTx:
        return ChatTx(
            attachments=AttachmentRepository(connection),
            chatbots=ChatbotRepository(connection),
            chats=ChatRepository(connection),
            feedback=FeedbackRepository(connection),
            insights=InsightRepository(connection),
            providers=ProviderRepository(connection),
            shares=ShareRepository(connection),
            chat_sessions=SessionRepository(connection),
            titles=TitleRepository(connection),
            legacies=LegacyRepository(connection),
            turns=TurnRepository(connection),
            requests=IdempotentRequests(connection, "chat"),
            search=KnowledgeSearch(connection, statistics, space, outdated),
            documents=DocumentRegistry(connection),
            passages=PassageReader(connection),
            calls=ProviderCalls(connection, "chat", outbox),
            erasures=Erasures(connection, "chat"),
            retention=RetentionRules(connection, "chat"),
            outbox=outbox,
        )

    return compose
