"""Chatbots: create, edit, publish, restore, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from docuchat_chat.answers.ports import AnswerModels
from docuchat_chat.chatbots.domain import (
    DRAFT,
    Chatbot,
    Config,
    Edit,
    EditedChatbot,
    NewChatbot,
    Version,
    Which,
)
from docuchat_chat.chatbots.errors import (
    ChatbotChanged,
    ChatbotNotPublished,
    CredentialsLate,
    NothingToPublish,
    TooManyChatbots,
)
from docuchat_chat.chatbots.ports import ChatbotsTx, Credentials
from docuchat_chat.chatbots.versions import Versions, find_version
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.chatbots import ChatbotNotFound, IssuedCredentials
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.chats import ChatbotDeleted, ChatbotPublished, ChatbotUnpublished
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import find_recent, require_person, require_recent
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import ChatbotId, TenantId, uuid7
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.folding import fold

logger = structlog.get_logger()

TELLING: Final = timedelta(seconds=30)
"""Within which auth's answer must be made true here; the sweep takes up later what was not."""


@dataclass(frozen=True, slots=True)
class CreatedChatbot:
    """A chatbot with its key, whose secret is shown this once."""

    edited: EditedChatbot
    credentials: IssuedCredentials
    is_withheld: bool = False
    """Whether the secret is shown to nobody, because who asked did not sign in just now, or is a program."""


class ChatbotService(Versions):
    """What is done with chatbots beside asking them."""

    def __init__(
        self,
        transactions: Transactions[ChatbotsTx],
        credentials: Credentials,
        clock: Clock,
        *,
        models: AnswerModels,
        most: int,
    ) -> None:
        """`most` is how many chatbots a tenant can have."""
        super().__init__(transactions)
        self._credentials = credentials
        self._clock = clock
        self._models = models
        self._most = most

    async def get_name(self, tenant_id: TenantId, chatbot_id: ChatbotId) -> str:
        """Return what a chatbot is called. Raises ChatbotNotFound."""
        async with self._transactions(tenant_id) as tx:
            found = await tx.chatbots.find_live(tenant_id, chatbot_id)
        if found is None:
            raise ChatbotNotFound
        return found[0].name

    async def list_gone(self, tenant_id: TenantId, chatbot_ids: Sequence[ChatbotId]) -> list[ChatbotId]:
        """Return those of these chatbots that are gone, or never were."""
        async with self._transactions(tenant_id) as tx:
            return await tx.chatbots.list_gone(tenant_id, chatbot_ids)

    async def two_versions(
        self, caller: Caller, chatbot_id: ChatbotId, which: Which, other: Which | None
    ) -> tuple[Version, Version]:
        """Return two versions to be compared; without an `other` the one that was published before.

        Raises ChatbotNotFound, ChatbotVersionNotFound.
        """
        async with self._transactions(caller.tenant_id) as tx:
            chatbot, version = await find_version(tx, caller, chatbot_id, which)
            if other is None:
                other = chatbot.last_version if version.number == DRAFT else version.number - 1
            return (await find_version(tx, caller, chatbot_id, other))[1], version

    async def get(self, caller: Caller, chatbot_id: ChatbotId) -> EditedChatbot:
        """Return a chatbot; one that is not published is there for who manages chatbots alone."""
        async with self._transactions(caller.tenant_id) as tx:
            edited = await tx.chatbots.find_edited(caller.tenant_id, chatbot_id)
        if edited is None or (edited.live is None and not caller.can("chatbots.manage")):
            raise ChatbotNotFound
        return edited

    async def list_chatbots(
        self, caller: Caller, limit: int, before: ChatbotId | None, query: str | None
    ) -> list[EditedChatbot]:
        """List chatbots, newest first: all to who manages them, to others those that are published."""
        needle = fold(query).strip() if query else None
        live_only = not caller.can("chatbots.manage")
        async with self._transactions(caller.tenant_id) as tx:
            return await tx.chatbots.page(caller.tenant_id, limit, before, needle or None, live_only=live_only)

    async def list_versions(
        self, caller: Caller, chatbot_id: ChatbotId, limit: int, before: int | None
    ) -> list[Version]:
        """List published versions, newest first."""
        async with self._transactions(caller.tenant_id) as tx:
            await find_version(tx, caller, chatbot_id, "draft")
            return await tx.chatbots.versions(caller.tenant_id, chatbot_id, limit, before)

    async def create(
        self, caller: Caller, new: NewChatbot, settle: Settle[CreatedChatbot] = without_key
    ) -> CreatedChatbot:
        """Make a chatbot with a draft and a key, whose secret is withheld without a recent sign-in.

        Raises TooManyChatbots, ModelNotAllowed, UpstreamUnavailable, and CollectionNotFound when it is to be published.

        Auth comes first: a key without a chatbot opens nothing, and the sweep ends it.
        """
        tenant_id, chatbot_id = caller.tenant_id, ChatbotId(uuid7())
        is_withheld = find_recent(caller, self._clock.now()) is None
        await self._require_model(tenant_id, new.config)
        async with self._transactions(tenant_id) as tx:
            await self._require_room(tx, caller)
            note = await tx.chatbots.note_untold(tenant_id, chatbot_id)
        issued = await self._credentials.put(tenant_id, chatbot_id, new.origins, caller)
        if is_withheld:
            issued = issued.model_copy(update={"secret_key": None})
        async with self._transactions.as_caller(caller) as tx:
            await self._require_room(tx, caller)
            if not await tx.chatbots.confirm_told(tenant_id, note, TELLING):
                raise CredentialsLate
            edited = await tx.chatbots.add(tenant_id, chatbot_id, new)
            if new.publish:
                await self._publish(tx, caller, edited.chatbot, edited.draft, None)
                edited = await _find_edited(tx, caller, chatbot_id, None)
            created = CreatedChatbot(edited, issued, is_withheld)
            tx.outbox.add(entry(caller, "chatbot.create", chatbot_id, detail="published" if new.publish else None))
            await settle(tx, created)
        return created

    async def edit(self, caller: Caller, chatbot_id: ChatbotId, edit: Edit) -> EditedChatbot:
        """Change the draft, and what holds at once. Raises ChatbotNotFound, ChatbotChanged, ModelNotAllowed.

        Two edits without a revision both take effect, each in its own fields.
        """
        tenant_id = caller.tenant_id
        if "model" in edit.draft or "fallback_model" in edit.draft:
            async with self._transactions(tenant_id) as tx:
                seen = await _find_edited(tx, caller, chatbot_id, edit.revision)
            draft = replace(seen.draft, **edit.draft)
            if (draft.model, draft.fallback_model) != (seen.draft.model, seen.draft.fallback_model):
                await self._require_model(tenant_id, draft)
        if "origins" not in edit.chatbot:
            async with self._transactions(tenant_id) as tx:
                return await self._save(tx, caller, await _find_edited(tx, caller, chatbot_id, edit.revision), edit)
        async with self._transactions(tenant_id) as tx:
            seen = await _find_edited(tx, caller, chatbot_id, edit.revision)
            note = await tx.chatbots.note_untold(tenant_id, chatbot_id)
        await self._credentials.put(tenant_id, chatbot_id, edit.chatbot["origins"], caller)
        async with self._transactions(tenant_id) as tx:
            # An edit that came between may have told auth of other origins: the note stays, and the sweep mends it.
            edited = await _find_edited(tx, caller, chatbot_id, seen.chatbot.revision)
            if not await tx.chatbots.confirm_told(tenant_id, note, TELLING):
                raise CredentialsLate
            return await self._save(tx, caller, edited, edit)

    async def publish(
        self, caller: Caller, chatbot_id: ChatbotId, revision: int | None, settle: Settle[Version] = without_key
    ) -> Version:
        """Make the next version of the draft, live at once.

        Raises ChatbotNotFound, ChatbotChanged, NothingToPublish, ModelNotAllowed, CollectionNotFound.
        """
        async with self._transactions(caller.tenant_id) as tx:
            seen = await _find_edited(tx, caller, chatbot_id, revision)
        if not seen.has_changes:
            raise NothingToPublish
        await self._require_model(caller.tenant_id, seen.draft)
        async with self._transactions.as_caller(caller) as tx:
            edited = await _find_edited(tx, caller, chatbot_id, seen.chatbot.revision)
            if not edited.has_changes:
                raise NothingToPublish
            version = await self._publish(tx, caller, edited.chatbot, edited.draft, None)
            tx.outbox.add(entry(caller, "chatbot.publish", chatbot_id, detail=f"version {version.number}"))
            await settle(tx, version)
        return version

    async def restore(
        self, caller: Caller, chatbot_id: ChatbotId, number: int, settle: Settle[Version] = without_key
    ) -> Version:
        """Make a version equal to an earlier one, live at once, and set the draft to it. Raises as `publish`."""
        async with self._transactions(caller.tenant_id) as tx:
            config = (await find_version(tx, caller, chatbot_id, number))[1].config
        await self._require_model(caller.tenant_id, config)
        async with self._transactions.as_caller(caller) as tx:
            edited = await _find_edited(tx, caller, chatbot_id, None)
            if edited.draft == config and not edited.has_changes:
                raise NothingToPublish
            version = await self._publish(tx, caller, edited.chatbot, config, number)
            if edited.draft != config:
                await tx.chatbots.save(edited.chatbot, config)
            tx.outbox.add(entry(caller, "chatbot.restore", chatbot_id, detail=f"version {number} as {version.number}"))
            await settle(tx, version)
        return version

    async def unpublish(self, caller: Caller, chatbot_id: ChatbotId) -> None:
        """Let no version answer until one is published again. Raises ChatbotNotFound, ChatbotNotPublished."""
        async with self._transactions(caller.tenant_id) as tx:
            edited = await _find_edited(tx, caller, chatbot_id, None)
            if edited.live is None:
                raise ChatbotNotPublished
            await tx.chatbots.unpublish(edited.chatbot)
            tx.outbox.add(
                ChatbotUnpublished(tenant_id=caller.tenant_id, chatbot_id=chatbot_id, version=edited.live.number)
            )
            tx.outbox.add(entry(caller, "chatbot.unpublish", chatbot_id))

    async def rotate_key(
        self,
        caller: Caller,
        chatbot_id: ChatbotId,
        overlap: timedelta,
        settle: Settle[IssuedCredentials] = without_key,
    ) -> IssuedCredentials:
        """Give the key another secret.

        Raises ChatbotNotFound, NotAllowed, RecentSignInRequired, UpstreamUnavailable.
        """
        await self.version(caller, chatbot_id, "draft")
        require_person(caller)
        require_recent(caller, self._clock.now())
        issued = await self._credentials.rotate(caller.tenant_id, chatbot_id, overlap, caller)
        async with self._transactions(caller.tenant_id) as tx:
            tx.outbox.add(entry(caller, "chatbot.rotate_key", chatbot_id))
            await settle(tx, issued)
        return issued

    async def delete(self, caller: Caller, chatbot_id: ChatbotId) -> None:
        """Delete a chatbot with its versions; its chats, documents and credentials go soon after."""
        tenant_id = caller.tenant_id
        async with self._transactions(tenant_id) as tx:
            if not await tx.chatbots.remove(tenant_id, chatbot_id):
                raise ChatbotNotFound
            note = await tx.chatbots.note_untold(tenant_id, chatbot_id)
            await tx.requests.forget_about(tenant_id, chatbot_id)
            tx.outbox.add(ChatbotDeleted(tenant_id=tenant_id, chatbot_id=chatbot_id))
            tx.outbox.add(entry(caller, "chatbot.delete", chatbot_id))
        try:
            await self._credentials.end(tenant_id, chatbot_id)
        except UpstreamUnavailable as error:
            logger.warning("chatbot.credentials_left", chatbot_id=str(chatbot_id), reason=error.detail)
            return
        async with self._transactions(tenant_id) as tx:
            await tx.chatbots.confirm_told(tenant_id, note, TELLING)

    async def _save(self, tx: ChatbotsTx, caller: Caller, edited: EditedChatbot, edit: Edit) -> EditedChatbot:
        draft = replace(edited.draft, **edit.draft)
        saved = await tx.chatbots.save(replace(edited.chatbot, **edit.chatbot), draft)
        tx.outbox.add(
            entry(caller, "chatbot.update", edited.chatbot.id, detail=", ".join((*edit.chatbot, *edit.draft)))
        )
        return saved

    async def _publish(
        self, tx: ChatbotsTx, caller: Caller, chatbot: Chatbot, config: Config, restored_from: int | None
    ) -> Version:
        unknown = [str(each) for each in await tx.search.unknown_collections(caller.tenant_id, config.collections)]
        if unknown:
            raise CollectionNotFound(f"There is no such collection: {', '.join(unknown)}.", collection_ids=unknown)
        version = await tx.chatbots.publish(chatbot, config, restored_from)
        tx.outbox.add(ChatbotPublished(tenant_id=caller.tenant_id, chatbot_id=chatbot.id, version=version.number))
        return version

    async def _require_room(self, tx: ChatbotsTx, caller: Caller) -> None:
        if await tx.chatbots.count(caller.tenant_id) >= self._most:
            raise TooManyChatbots(limit=self._most)

    async def _require_model(self, tenant_id: TenantId, config: Config) -> None:
        """Raise ModelNotAllowed; never inside a transaction, since to find a model may need another connection."""
        for model in (config.model, config.fallback_model):
            if model is not None:
                await self._models.find(tenant_id, model)


async def _find_edited(tx: ChatbotsTx, caller: Caller, chatbot_id: ChatbotId, revision: int | None) -> EditedChatbot:
    """Return a chatbot that nobody else edits until the transaction ends. Raises ChatbotNotFound, ChatbotChanged."""
    edited = await tx.chatbots.find_edited(caller.tenant_id, chatbot_id, lock=True)
    if edited is None:
        raise ChatbotNotFound
    if revision is not None and edited.chatbot.revision != revision:
        raise ChatbotChanged(revision=edited.chatbot.revision)
    return edited
