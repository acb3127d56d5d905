"""Which version of a chatbot answers, and what it answers from: all that a question needs to know of chatbots."""

from __future__ import annotations

from docuchat_chat.chatbots.domain import DRAFT, Chatbot, Version, Which
from docuchat_chat.chatbots.errors import ChatbotNotPublished, ChatbotVersionNotFound
from docuchat_chat.chatbots.ports import ChatbotsTx, LiveVersions
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, CollectionId, TenantId


async def live_collections(
    chatbots: LiveVersions, tenant_id: TenantId, chatbot_id: ChatbotId
) -> tuple[CollectionId, ...]:
    """Return what a chatbot answers from now, and so whoever may ask it may see; nothing while no version is live."""
    found = await chatbots.find_live(tenant_id, chatbot_id)
    return found[1].collections if found is not None and found[1] is not None else ()


async def find_version(tx: ChatbotsTx, caller: Caller, chatbot_id: ChatbotId, which: Which) -> tuple[Chatbot, Version]:
    if which == "draft":
        edited = await tx.chatbots.find_edited(caller.tenant_id, chatbot_id)
        if edited is None:
            raise ChatbotNotFound
        chatbot = edited.chatbot
        return chatbot, Version(chatbot.id, DRAFT, edited.draft, chatbot.updated_at)
    found = await tx.chatbots.find_version(caller.tenant_id, chatbot_id, which)
    if found is None:
        raise ChatbotNotFound
    if found[1] is None:
        raise ChatbotVersionNotFound
    return found[0], found[1]


class Versions:
    """Versions of chatbots, for who asks them."""

    def __init__(self, transactions: Transactions[ChatbotsTx]) -> None:
        self._transactions = transactions

    async def live(self, caller: Caller, chatbot_id: ChatbotId) -> tuple[Chatbot, Version]:
        """Return a chatbot and the version that answers. Raises ChatbotNotFound, ChatbotNotPublished."""
        return await self._live_of(caller.tenant_id, chatbot_id)

    async def show(self, chatbot_id: ChatbotId) -> tuple[Chatbot, Version]:
        """As `live`, for a page that names a chatbot and no tenant."""
        async with self._transactions.system() as tx:
            tenant_id = await tx.chatbots.find_tenant(chatbot_id)
        if tenant_id is None:
            raise ChatbotNotFound
        return await self._live_of(tenant_id, chatbot_id)

    async def _live_of(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> tuple[Chatbot, Version]:
        async with self._transactions(tenant_id) as tx:
            found = await tx.chatbots.find_live(tenant_id, chatbot_id)
        if found is None:
            raise ChatbotNotFound
        chatbot, version = found
        if version is None:
            raise ChatbotNotPublished
        return chatbot, version

    async def version(self, caller: Caller, chatbot_id: ChatbotId, which: Which) -> tuple[Chatbot, Version]:
        """Return a chatbot and one version of it or its draft, for who manages chatbots.

        Raises ChatbotNotFound, ChatbotVersionNotFound.
        """
        async with self._transactions(caller.tenant_id) as tx:
            return await find_version(tx, caller, chatbot_id, which)
