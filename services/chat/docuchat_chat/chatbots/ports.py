"""What chatbots need from the world."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from docuchat_chat.answers.ports import PassageSearch
from docuchat_chat.chatbots.domain import Chatbot, Config, EditedChatbot, NewChatbot, NoteId, Untold, Version
from docuchat_common.contracts.chatbots import IssuedCredentials
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.ids import ChatbotId, TenantId
from docuchat_common.messaging.outbox import Outbox


class LiveVersions(Protocol):
    """What answers for the chatbots of one tenant."""

    async def find_live(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> tuple[Chatbot, Version | None] | None:
        """Return a chatbot and what is live of it, by one statement."""
        ...


class ChatbotStore(LiveVersions, Protocol):
    """The chatbots of one tenant."""

    async def find_tenant(self, chatbot_id: ChatbotId) -> TenantId | None:
        """Return whose a chatbot is (system role)."""
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

    async def list_gone(self, tenant_id: TenantId, chatbot_ids: Sequence[ChatbotId]) -> list[ChatbotId]:
        """Return those of these chatbots that are not there."""
        ...

    async def note_untold(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> NoteId:
        """Note that auth is about to be told of a chatbot: whoever stops then has it told by the sweep."""
        ...

    async def confirm_told(self, tenant_id: TenantId, note_id: NoteId, within: timedelta) -> bool:
        """Say that auth was told what is true from this commit on; False when that took longer than `within`."""
        ...

    async def list_untold(self, patience: timedelta, limit: int) -> list[Untold]:
        """Return what auth was to be told for longer than `patience` (system role)."""
        ...

    async def forget_note(self, note: Untold, origins: Sequence[str] | None, patience: timedelta) -> None:
        """Auth was told these origins, None that the chatbot is gone: forget the note if that is still true.

        It stays as well while a request that was begun within `patience` may be telling auth something else.
        """
        ...

    async def forget_removed(self, older_than: timedelta) -> None:
        """Forget which chatbots are gone after that time, and have no chats any more (system role)."""
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
    def requests(self) -> IdempotentRequests:
        """Idempotency keys."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events."""
        ...


class Credentials(Protocol):
    """What opens chatbots: auth alone makes and checks it. Each call may be repeated; UpstreamUnavailable of all."""

    async def put(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, origins: Sequence[str], by: Caller
    ) -> IssuedCredentials:
        """Let a chatbot have a key, shown when it is made, and pages of these origins."""
        ...

    async def rotate(
        self, tenant_id: TenantId, chatbot_id: ChatbotId, overlap: timedelta, by: Caller
    ) -> IssuedCredentials:
        """Give the key another secret; the one before goes on for as long as they overlap."""
        ...

    async def end(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> None:
        """End the key and all visitors."""
        ...
