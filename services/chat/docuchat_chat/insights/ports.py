"""What insights need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from docuchat_chat.chatbots.ports import ChatbotStore
from docuchat_chat.conversations.ports import ConversationsTx
from docuchat_chat.insights.domain import AskedChat, Comment, Opinions, Unanswered, UseOfDay
from docuchat_common.ids import ChatbotId, ChatId, TenantId


class InsightStore(Protocol):
    """Chats of all who asked a chatbot."""

    async def page(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int, before: tuple[datetime, ChatId] | None
    ) -> list[AskedChat]:
        """Return chats, the last used first."""
        ...

    async def find(self, tenant_id: TenantId, chatbot_id: ChatbotId, chat_id: ChatId) -> AskedChat | None:
        """Return one of them."""
        ...

    async def count_askers(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> tuple[int, int]:
        """Return how many chats were used since a moment, and by how many who asked."""
        ...

    async def use_by_day(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> Sequence[UseOfDay]:
        """Return what was answered since a moment, by day and version."""
        ...

    async def unanswered(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime, limit: int
    ) -> Sequence[Unanswered]:
        """Return the questions that found nothing, the most asked first."""
        ...

    async def opinions(self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime) -> Sequence[Opinions]:
        """Count what readers thought of answers."""
        ...

    async def comments(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, since: datetime, limit: int
    ) -> Sequence[Comment]:
        """Return what readers said of answers, the last first."""
        ...


class InsightsTx(ConversationsTx, Protocol):
    """What of a transaction insights use."""

    @property
    def insights(self) -> InsightStore:
        """Chats of all who asked a chatbot."""
        ...

    @property
    def chatbots(self) -> ChatbotStore:
        """The chatbots."""
        ...
