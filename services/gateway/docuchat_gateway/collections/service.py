"""What can be done with collections. Row-level security shows the caller's; what is not shown is not found."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from docuchat_common.audit import entry
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import CollectionId
from docuchat_gateway.documents.domain import manages
from docuchat_gateway.documents.ports import Chatbots, OpenTransaction
from docuchat_gateway.documents.service import DocumentService
from docuchat_gateway.transaction import GatewayTx
from docuchat_knowledge.collections.domain import Access, Collection, Kind, Member, Visibility
from docuchat_knowledge.collections.errors import CollectionOfChatbot, DefaultCollection
from docuchat_knowledge.documents.errors import DocumentNotFound

logger = structlog.get_logger()

_AT_ONCE = 50


class CollectionService:
    """Use cases on collections, for one caller at a time."""

    def __init__(self, uow: OpenTransaction, documents: DocumentService, chatbots: Chatbots) -> None:
        self._uow = uow
        self._documents = documents
        self._chatbots = chatbots

    async def create(
        self, caller: Caller, name: str, visibility: Visibility, settle: Settle[Collection] = without_key
    ) -> Collection:
        """Make a collection. Raises TooManyCollections."""
        async with self._uow.as_caller(caller) as tx:
            collection = await tx.collections.create(caller.tenant_id, name, visibility, created_by=caller.subject_id)
            tx.outbox.add(entry(caller, "collection.create", collection.id))
            await settle(tx, collection)
        return collection

    async def page(self, caller: Caller, *, limit: int, before: CollectionId | None) -> Sequence[Collection]:
        """Newest first."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.collections.page(caller.tenant_id, limit=limit, before=before)

    async def get(self, caller: Caller, collection_id: CollectionId) -> Collection:
        """Raises CollectionNotFound."""
        async with self._uow.as_caller(caller) as tx:
            return await tx.collections.get(caller.tenant_id, collection_id)

    async def update(
        self, caller: Caller, collection_id: CollectionId, *, name: str | None, visibility: Visibility | None
    ) -> Collection:
        """Rename, open or restrict. Raises CollectionNotFound, NotAllowed, DefaultCollection, CollectionOfChatbot."""
        async with self._uow.as_caller(caller) as tx:
            await _managed(tx, caller, collection_id)
            detail = None if visibility is None else f"visibility {visibility.value}"
            tx.outbox.add(entry(caller, "collection.change", collection_id, detail=detail))
            return await tx.collections.update(caller.tenant_id, collection_id, name=name, visibility=visibility)

    async def delete(self, caller: Caller, collection_id: CollectionId, *, with_documents: bool) -> int:
        """Delete a collection, its documents only when asked to; gives how many they were. Safe to repeat.

        A chatbot's goes with it; what an upload that crossed its deletion left behind can be deleted here.
        Raises CollectionNotFound, NotAllowed, DefaultCollection, CollectionOfChatbot, CollectionNotEmpty.
        """
        async with self._uow.as_caller(caller) as tx:
            collection = await _managed(tx, caller, collection_id)
        if collection.is_default:
            raise DefaultCollection
        if collection.kind is Kind.CHATBOT and await self._chatbots.find_name(caller.tenant_id, collection_id):
            raise CollectionOfChatbot
        deleted = await self._empty(caller, collection_id) if with_documents else 0
        async with self._uow.as_caller(caller) as tx:
            await tx.collections.delete(caller.tenant_id, collection_id)
            await tx.requests.forget_about(caller.tenant_id, collection_id)
            tx.outbox.add(entry(caller, "collection.delete", collection_id, detail=f"with {deleted} documents"))
        logger.info("collection.deleted", collection_id=str(collection_id), documents=deleted)
        return deleted

    async def _empty(self, caller: Caller, collection_id: CollectionId) -> int:
        """Delete the documents that are there, each in a transaction of its own; what comes meanwhile stays."""
        deleted, before = 0, None
        while True:
            async with self._uow.as_caller(caller) as tx:
                page = await tx.documents.list_documents(
                    caller.tenant_id, limit=_AT_ONCE, before=before, collection_id=collection_id
                )
            for document in page:
                try:
                    await self._documents.delete(caller, document.id, is_part=True)
                    deleted += 1
                except DocumentNotFound:
                    continue  # somebody else was quicker
            if len(page) < _AT_ONCE:
                return deleted
            before = page[-1].id

    async def list_members(
        self, caller: Caller, collection_id: CollectionId, *, limit: int, after: UUID | None
    ) -> Sequence[Member]:
        """By id. Raises CollectionNotFound, NotAllowed."""
        async with self._uow.as_caller(caller) as tx:
            await _managed(tx, caller, collection_id)
            return await tx.collections.list_members(caller.tenant_id, collection_id, limit=limit, after=after)

    async def put_member(self, caller: Caller, collection_id: CollectionId, member_id: UUID, access: Access) -> Member:
        """Give a user, a group or a key this access. Raises CollectionNotFound, NotAllowed, TooManyMembers."""
        async with self._uow.as_caller(caller) as tx:
            await _managed(tx, caller, collection_id)
            detail = f"{member_id} may {access.value}"
            tx.outbox.add(entry(caller, "collection.put_member", collection_id, detail=detail))
            return await tx.collections.put_member(caller.tenant_id, collection_id, member_id, access)

    async def remove_member(self, caller: Caller, collection_id: CollectionId, member_id: UUID) -> None:
        """Raises CollectionNotFound, NotAllowed, MemberNotFound."""
        async with self._uow.as_caller(caller) as tx:
            await _managed(tx, caller, collection_id)
            await tx.collections.remove_member(caller.tenant_id, collection_id, member_id)
            tx.outbox.add(entry(caller, "collection.remove_member", collection_id, detail=str(member_id)))


async def _managed(tx: GatewayTx, caller: Caller, collection_id: CollectionId) -> Collection:
    """The collection, for who manages it."""
    collection = await tx.collections.get(caller.tenant_id, collection_id)
    if not manages(caller, collection):
        raise NotAllowed
    return collection
