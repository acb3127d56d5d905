"""Chatbots in Postgres: rows in, domain objects out."""

from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.chatbots.domain import Chatbot
from docuchat_auth.tenants.errors import TenantNotFound
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.chatbots")


class ChatbotRepository:
    """The chatbots of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_tenant(self, chatbot_id: UUID) -> TenantId | None:
        """System transactions only: whose chatbot it is."""
        found: int | None = await _queries.find_tenant_of_chatbot(self._connection, chatbot_id=chatbot_id)
        return None if found is None else TenantId(found)

    async def find(self, tenant_id: TenantId, chatbot_id: UUID) -> Chatbot | None:
        row = await _queries.find_chatbot(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id)
        return None if row is None else Chatbot(**dict(row) | {"origins": tuple(row["origins"])})

    async def lock(self, chatbot_id: UUID) -> None:
        """Hold off other changes of the chatbot until this transaction ends."""
        await _queries.lock_chatbot(self._connection, key=f"auth.chatbots {chatbot_id}")

    async def add(self, chatbot: Chatbot) -> None:
        """A new chatbot. Raises TenantNotFound."""
        try:
            await _queries.add_chatbot(
                self._connection,
                tenant_id=chatbot.tenant_id,
                chatbot_id=chatbot.id,
                origins=list(chatbot.origins),
                created_by=chatbot.created_by,
                created_at=chatbot.created_at,
            )
        except asyncpg.ForeignKeyViolationError as error:
            raise TenantNotFound from error

    async def set_origins(self, chatbot: Chatbot) -> None:
        await _queries.set_origins(
            self._connection,
            tenant_id=chatbot.tenant_id,
            chatbot_id=chatbot.id,
            origins=list(chatbot.origins),
            version=chatbot.version,
        )

    async def delete(self, tenant_id: TenantId, chatbot_id: UUID) -> bool:
        """Whether there was such a chatbot."""
        return bool(await _queries.delete_chatbot(self._connection, tenant_id=tenant_id, chatbot_id=chatbot_id))
