"""Where an upload goes: the collection that its form names, a chatbot's own, or that of the caller's attachments."""

from dataclasses import dataclass
from typing import ClassVar, Protocol
from uuid import UUID

from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import CollectionId
from docuchat_gateway.documents.domain import EXPIRY_FIELDS, collection_of
from docuchat_gateway.transaction import GatewayTx
from docuchat_knowledge.collections.domain import Access, Collection, Kind
from docuchat_knowledge.collections.errors import CollectionNotFound
from docuchat_knowledge.documents.repository import READ_ONLY


class Place(Protocol):
    """A collection that takes documents in."""

    @property
    def act(self) -> str:
        """What taking a document in is called in the audit log."""
        ...

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a form that count; what else a form carries is left alone."""
        ...

    @property
    def name(self) -> str:
        """What tells a request to upload here from one to upload the same elsewhere; empty where the fields tell."""
        ...

    @property
    def max_bytes(self) -> int:
        """The largest file."""
        ...

    async def begin(self, tx: GatewayTx, caller: Caller) -> Collection:
        """Where the row stands while the file arrives. Raises CollectionNotFound, NotAllowed, TooManyCollections."""
        ...

    async def open(self, tx: GatewayTx, caller: Caller, fields: dict[str, str]) -> Collection:
        """Where the document will stand. Raises CollectionNotFound, NotAllowed."""
        ...


@dataclass(frozen=True, slots=True)
class NamedPlace:
    """The collection that the form names, or the tenant's default one."""

    max_bytes: int
    act: ClassVar[str] = "document.add"
    fields: ClassVar[frozenset[str]] = frozenset({"title", "collection_id", "purpose"}) | EXPIRY_FIELDS
    name: ClassVar[str] = ""

    async def begin(self, tx: GatewayTx, caller: Caller) -> Collection:
        return await self.open(tx, caller, {})

    async def open(self, tx: GatewayTx, caller: Caller, fields: dict[str, str]) -> Collection:
        named = collection_of(fields)
        if named is None:
            return writable(await tx.collections.open_default(caller.tenant_id))
        collection = await tx.collections.get(caller.tenant_id, named)
        if collection.kind is Kind.ATTACHMENTS:
            raise CollectionNotFound  # what is attached has limits of its own
        return writable(collection)


@dataclass(frozen=True, slots=True)
class ChatbotPlace:
    """The collection of a chatbot's own documents, made with the first of them."""

    chatbot_id: UUID
    chatbot_name: str
    max_bytes: int
    act: ClassVar[str] = "document.add"
    fields: ClassVar[frozenset[str]] = frozenset({"title"})

    @property
    def name(self) -> str:
        return f"chatbot:{self.chatbot_id}"

    async def begin(self, tx: GatewayTx, caller: Caller) -> Collection:
        return await tx.collections.open_of_chatbot(
            caller.tenant_id, self.chatbot_id, self.chatbot_name, created_by=caller.maker_id
        )

    async def open(self, tx: GatewayTx, caller: Caller, fields: dict[str, str]) -> Collection:
        # not made again: it goes with its chatbot, which may be deleted while the file arrives
        return writable(await tx.collections.get(caller.tenant_id, CollectionId(self.chatbot_id)))


@dataclass(frozen=True, slots=True)
class AttachmentPlace:
    """The collection of what the caller attaches to messages."""

    max_bytes: int
    act: ClassVar[str] = "attachment.add"
    fields: ClassVar[frozenset[str]] = frozenset({"title"})
    name: ClassVar[str] = "attachments"

    async def begin(self, tx: GatewayTx, caller: Caller) -> Collection:
        return await tx.collections.open_attachments(caller.tenant_id, caller.maker_id or caller.subject_id)

    async def open(self, tx: GatewayTx, caller: Caller, fields: dict[str, str]) -> Collection:
        return await self.begin(tx, caller)


def writable(collection: Collection) -> Collection:
    """The collection, for who may write in it. Raises NotAllowed."""
    if collection.access is Access.READ:
        raise NotAllowed(READ_ONLY)
    return collection
