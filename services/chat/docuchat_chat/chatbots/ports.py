"""What chatbots need from the world."""

from __future__ import annotations

from typing import Protocol

from docuchat_chat.answers.ports import PassageSearch
from docuchat_chat.chatbots.domain import Chatbot, Config, EditedChatbot, NewChatbot, Version
from docuchat_common.ids import ChatbotId, TenantId
from docuchat_common.messaging.outbox import Outbox


class ChatbotStore(Protocol):
    """The chatbots of one tenant."""

    async def find_live(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> tuple[Chatbot, Version | None] | None:
        """Return a chatbot and what is live of it, by one statement."""
        ...

    async def find_version(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, number: int
    ) -> tuple[Chatbot, Version | None] | None:
        """Return a chatbot and one of its versions, by one statement."""
        ...

    async def find_edited(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, *, lock: bool = False
    ) -> EditedChatbot | None:
        """Return a chatbot with its draft; with `lock` nobody else edits it until the transaction ends."""
        ...

    async def page(
        self, tenant_id: TenantId, limit: int, before: ChatbotId | None, needle: str | None, *, live_only: bool
    ) -> list[EditedChatbot]:
        """Return chatbots, newest first; with `needle` (folded) those whose name holds it."""
        ...

    async def count(self, tenant_id: TenantId) -> int:
        """Return how many there are; who counts goes on alone until the transaction ends."""
        ...

    async def add(self, tenant_id: TenantId, chatbot_id: ChatbotId, new: NewChatbot) -> EditedChatbot:
        """Make one."""
        ...

    async def save(self, chatbot: Chatbot, draft: Config) -> EditedChatbot:
        """Keep an edit of a locked chatbot, as its next revision."""
        ...

    async def publish(self, chatbot: Chatbot, config: Config, restored_from: int | None) -> Version:
        """Make the next version of a locked chatbot, and make it live."""
        ...

    async def unpublish(self, chatbot: Chatbot) -> None:
        """Let no version be live."""
        ...

    async def versions(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, limit: int, before: int | None
    ) -> list[Version]:
        """Return versions, newest first."""
        ...

    async def remove(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> bool:
        """Delete a chatbot with its versions and remember that it is gone; False when there is none."""
        ...


class ChatbotsTx(Protocol):
    """What of a transaction chatbots use."""

    @property
    def chatbots(self) -> ChatbotStore:
        """The chatbots."""
        ...

    @property
    def search(self) -> PassageSearch:
        """The documents that the caller may see."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...
