"""Sharing: make, list, revoke and follow links to chats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_chat.answers.citations import documents_of, without_words
from docuchat_chat.conversations.domain import Chat, Message
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.service import list_path
from docuchat_chat.sharing.domain import MOST_SHARES, Audience, FoundShare, IssuedShare, Share, hash_of, new_token
from docuchat_chat.sharing.errors import NothingToShare, ShareNotFound, TooManyShares
from docuchat_chat.sharing.ports import SharingTx
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.defusing import defuse
from docuchat_common.errors import Unauthenticated
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import ChatId, TenantId, uuid7

_BATCH: Final = 500
_LOOKED_BACK: Final = 100
"""So many answers may be written at the end of a chat at once; the message before them is the last that is there."""


@dataclass(frozen=True, slots=True)
class SharedChat:
    """What a link shows: one page of messages."""

    share: Share
    messages: list[Message]


class SharingService:
    """Links to what a chat was at a moment."""

    def __init__(self, transactions: Transactions[SharingTx]) -> None:
        self._transactions = transactions

    async def share(
        self,
        caller: Caller,
        chat_id: ChatId,
        audience: Audience,
        life: timedelta,
        settle: Settle[IssuedShare] = without_key,
    ) -> IssuedShare:
        """Make a link to what is shown of an own chat now. Raises ChatNotFound, NothingToShare, TooManyShares."""
        token = new_token()
        async with self._transactions.as_caller(caller) as tx:
            chat = await _require_own(tx, caller, chat_id)
            if await tx.shares.count(caller.tenant_id, chat_id) >= MOST_SHARES:
                raise TooManyShares(limit=MOST_SHARES)
            now = datetime.now(UTC)
            wanted = Share(
                uuid7(),
                caller.tenant_id,
                chat_id,
                audience,
                chat.title and defuse(chat.title),
                await _last(tx, caller, chat),
                now,
                now + life,
            )
            issued = IssuedShare(await tx.shares.add(wanted, hash_of(token), life), token)
            tx.outbox.add(entry(caller, "chat.share", chat_id, detail=audience))
            await settle(tx, issued)
        return issued

    async def list_shares(self, caller: Caller, chat_id: ChatId, limit: int, before: UUID | None) -> Sequence[Share]:
        """List the links to an own chat that have not expired, the newest first. Raises ChatNotFound."""
        async with self._transactions.as_caller(caller) as tx:
            await _require_own(tx, caller, chat_id)
            return await tx.shares.page(caller.tenant_id, chat_id, limit, before)

    async def revoke(self, caller: Caller, chat_id: ChatId, share_id: UUID) -> None:
        """Let a link lead nowhere from now on. Raises ChatNotFound, ShareNotFound."""
        async with self._transactions.as_caller(caller) as tx:
            await _require_own(tx, caller, chat_id)
            if not await tx.shares.delete(caller.tenant_id, chat_id, share_id):
                raise ShareNotFound
            tx.outbox.add(entry(caller, "share.revoke", share_id))

    async def follow(self, reader: Caller | None, token: str, limit: int, after: int) -> SharedChat:
        """Return what a link shows, behind a message number; `reader` is None for who is not signed in.

        Raises ShareNotFound, and Unauthenticated where only the tenant's users may read.
        """
        token_hash = hash_of(token)
        async with self._transactions.system() as tx:
            tenant_id = await tx.shares.find_tenant(token_hash)
        if tenant_id is None:
            raise ShareNotFound
        async with self._transactions(tenant_id) as tx:
            found = await _require_share(tx, tenant_id, token_hash)
            if found.share.audience == "link":
                return SharedChat(found.share, _without_documents(await _read(tx, found, limit, after)))
        if reader is None:
            raise Unauthenticated("This chat is shared with the users of a tenant; sign in to read it.")
        if reader.tenant_id != tenant_id or not reader.can("chats.use"):
            raise ShareNotFound
        async with self._transactions.as_caller(reader) as tx:
            found = await _require_share(tx, tenant_id, token_hash)
            return SharedChat(found.share, await _read(tx, found, limit, after))

    async def sweep(self) -> None:
        """Delete links that have expired."""
        gone = _BATCH
        while gone == _BATCH:
            async with self._transactions.system() as tx:
                gone = await tx.shares.delete_expired(_BATCH)


async def _require_own(tx: SharingTx, caller: Caller, chat_id: ChatId) -> Chat:
    chat = await tx.chats.find(caller, chat_id=chat_id)
    if chat is None:
        raise ChatNotFound
    return chat


async def _require_share(tx: SharingTx, tenant_id: TenantId, token_hash: bytes) -> FoundShare:
    found = await tx.shares.find(tenant_id, token_hash)
    if found is None:
        raise ShareNotFound
    return found


async def _last(tx: SharingTx, caller: Caller, chat: Chat) -> int:
    """Return the number of the last message that is shown now: an answer that is still being written is not shared."""
    numbers = chat.tree.latest(chat.tree.head, _LOOKED_BACK)
    ids = await tx.chats.list_ids(caller, chat.id, numbers)
    for number in numbers:
        if number in ids and ids[number][1]:
            return number
    raise NothingToShare


async def _read(tx: SharingTx, found: FoundShare, limit: int, after: int) -> list[Message]:
    """Return messages with citations as far as the transaction's caller may see them; what users wrote, defused."""
    owner = Caller(found.share.tenant_id, found.owner_type, found.owner_id)
    chat = await _require_own(tx, owner, found.share.chat_id)
    messages = await list_path(tx, owner, chat, found.share.last_seq, after=after, limit=limit)
    return [replace(message, content=defuse(message.content)) for message in messages]


def _without_documents(messages: Sequence[Message]) -> list[Message]:
    return [
        replace(message, citations=without_words(message.citations, documents_of(message.citations)))
        for message in messages
    ]
