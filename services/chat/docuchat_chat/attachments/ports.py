"""What attachments need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from docuchat_common.ids import ChatId, DocumentId, TenantId
from docuchat_common.messaging.outbox import Outbox


class AttachmentStore(Protocol):
    """Which files are used in which chats of a tenant."""

    async def keep(self, tenant_id: TenantId, chat_id: ChatId, document_ids: Sequence[DocumentId]) -> None:
        """Note that files are used in a chat."""
        ...

    async def release(self, tenant_id: TenantId, chat_id: ChatId) -> list[DocumentId]:
        """Forget what is used in a chat; returns what is used in no other one."""
        ...

    async def list_unused(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Return those of these files that are used in no chat."""
        ...


class AttachmentsTx(Protocol):
    """What of a transaction attachments use."""

    @property
    def attachments(self) -> AttachmentStore:
        """Files of chats."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...
