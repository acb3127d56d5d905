"""Collections of one tenant and their members."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import asyncpg

from docuchat_common.db import load_queries
from docuchat_common.http.caller import NotAllowed
from docuchat_common.ids import CollectionId, TenantId, uuid7
from docuchat_knowledge.collections.domain import Access, Collection, Kind, Member, Visibility
from docuchat_knowledge.collections.errors import (
    CollectionNotEmpty,
    CollectionNotFound,
    CollectionOfChatbot,
    DefaultCollection,
    MemberNotFound,
    TooManyCollections,
    TooManyMembers,
)

_queries = load_queries(__package__)

MOST_COLLECTIONS = 500
"""Of one tenant: a search looks each word up in each collection of its reader."""
MOST_MEMBERS = 1000
"""Of one collection; a group is one."""


@contextmanager
def refused_by_policy(detail: str | None = None) -> Iterator[None]:
    """Raise NotAllowed for what row-level security does not take: the right to it was lost since it was looked at."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotAllowed(detail) from error


class CollectionRepository:
    """Collections that the caller of the unit of work may see (role: gateway)."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def open_default(self, tenant_id: TenantId) -> Collection:
        """The tenant's default collection, made when there is none; safe when called by many at once."""
        found = await self._find(tenant_id, None)
        if found is None:
            await _queries.insert_default_collection(self._connection, tenant_id=tenant_id, collection_id=uuid7())
            found = await self._find(tenant_id, None)
        assert found is not None  # who opens it may see it
        return found

    async def get(self, tenant_id: TenantId, collection_id: CollectionId) -> Collection:
        """Raises CollectionNotFound, also for one that the caller may not see."""
        found = await self._find(tenant_id, collection_id)
        if found is None:
            raise CollectionNotFound
        return found

    async def page(self, tenant_id: TenantId, *, limit: int, before: CollectionId | None) -> list[Collection]:
        """Newest first (ids are UUIDv7); `before` is the id of the last one of the page before."""
        rows = _queries.list_collections(self._connection, tenant_id=tenant_id, page_size=limit, before=before)
        return [_collection(row) async for row in rows]

    async def create(
        self, tenant_id: TenantId, name: str, visibility: Visibility, *, created_by: UUID | None
    ) -> Collection:
        """Make one, which the caller manages, also when no admin any more. Raises TooManyCollections, NotAllowed."""
        await self._require_room(tenant_id)
        collection_id = CollectionId(uuid7())
        with refused_by_policy():
            await _queries.insert_collection(
                self._connection,
                tenant_id=tenant_id,
                collection_id=collection_id,
                name=name,
                visibility=visibility,
                created_by=created_by,
            )
        if created_by is not None:
            await self.put_member(tenant_id, collection_id, created_by, Access.MANAGE)
        return await self._get_new(tenant_id, collection_id)

    async def open_of_chatbot(
        self, tenant_id: TenantId, chatbot_id: UUID, name: str, *, created_by: UUID | None
    ) -> Collection:
        """The collection of a chatbot's documents, made when there is none; safe when called by many at once.

        Raises TooManyCollections, NotAllowed.
        """
        found = await self._find(tenant_id, CollectionId(chatbot_id))
        if found is not None:
            return found
        await self._require_room(tenant_id)
        return await self._open(tenant_id, CollectionId(chatbot_id), Kind.CHATBOT, name, created_by)

    async def open_attachments(self, tenant_id: TenantId, owner_id: UUID) -> Collection:
        """The collection of a subject's attachments, made when there is none; safe when called by many at once.

        Raises NotAllowed when the owner is another than the caller.
        """
        found = await self._find(tenant_id, CollectionId(owner_id))
        return found or await self._open(tenant_id, CollectionId(owner_id), Kind.ATTACHMENTS, "Attachments", None)

    async def update(
        self, tenant_id: TenantId, collection_id: CollectionId, *, name: str | None, visibility: Visibility | None
    ) -> Collection:
        """Rename, open or restrict. Raises CollectionNotFound, DefaultCollection, CollectionOfChatbot, NotAllowed."""
        collection = await self.get(tenant_id, collection_id)
        if collection.is_default and visibility is Visibility.RESTRICTED:
            raise DefaultCollection
        if collection.kind is Kind.CHATBOT and visibility is Visibility.TENANT:
            raise CollectionOfChatbot
        with refused_by_policy():
            changed = await _queries.update_collection(
                self._connection, tenant_id=tenant_id, collection_id=collection_id, name=name, visibility=visibility
            )
        if changed is None:
            raise NotAllowed
        return await self.get(tenant_id, collection_id)

    async def delete(self, tenant_id: TenantId, collection_id: CollectionId) -> None:
        """Delete an empty one. Raises CollectionNotFound, DefaultCollection, CollectionNotEmpty."""
        if (await self.get(tenant_id, collection_id)).is_default:
            raise DefaultCollection
        place = {"tenant_id": tenant_id, "collection_id": collection_id}
        if await _queries.lock_collection(self._connection, **place) is None:
            raise CollectionNotFound
        if await _queries.delete_empty_collection(self._connection, **place) is None:
            raise CollectionNotEmpty

    async def list_members(
        self, tenant_id: TenantId, collection_id: CollectionId, *, limit: int, after: UUID | None
    ) -> list[Member]:
        """By id; none for who does not manage the collection."""
        rows = _queries.list_members(
            self._connection, tenant_id=tenant_id, collection_id=collection_id, page_size=limit, after=after
        )
        return [_member(row) async for row in rows]

    async def put_member(
        self, tenant_id: TenantId, collection_id: CollectionId, member_id: UUID, access: Access
    ) -> Member:
        """Give a user, a group or a key this access, instead of what it had. Raises NotAllowed, TooManyMembers."""
        named = {"tenant_id": tenant_id, "collection_id": collection_id}
        with refused_by_policy():
            await _queries.lock_collection(self._connection, **named)  # those who come at once are counted in turn
            if await _queries.count_members_beside(self._connection, member_id=member_id, **named) >= MOST_MEMBERS:
                raise TooManyMembers(limit=MOST_MEMBERS)
            row = await _queries.put_member(self._connection, member_id=member_id, access=access, **named)
        return _member(row)

    async def remove_member(self, tenant_id: TenantId, collection_id: CollectionId, member_id: UUID) -> None:
        """Raises MemberNotFound."""
        gone = await _queries.remove_member(
            self._connection, tenant_id=tenant_id, collection_id=collection_id, member_id=member_id
        )
        if gone is None:
            raise MemberNotFound

    async def _require_room(self, tenant_id: TenantId) -> None:
        if await _queries.count_collections(self._connection, tenant_id=tenant_id) >= MOST_COLLECTIONS:
            raise TooManyCollections(limit=MOST_COLLECTIONS)

    async def _open(
        self, tenant_id: TenantId, collection_id: CollectionId, kind: Kind, name: str, created_by: UUID | None
    ) -> Collection:
        with refused_by_policy():
            await _queries.open_collection(
                self._connection,
                tenant_id=tenant_id,
                collection_id=collection_id,
                kind=kind,
                name=name,
                created_by=created_by,
            )
        return await self._get_new(tenant_id, collection_id)

    async def _get_new(self, tenant_id: TenantId, collection_id: CollectionId) -> Collection:
        await self._connection.execute("SELECT set_config('app.readable', '', true)")
        return await self.get(tenant_id, collection_id)

    async def _find(self, tenant_id: TenantId, collection_id: CollectionId | None) -> Collection | None:
        row = await _queries.find_collection(self._connection, tenant_id=tenant_id, collection_id=collection_id)
        return None if row is None else _collection(row)


def _collection(row: asyncpg.Record) -> Collection:
    return Collection(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        kind=Kind(row["kind"]),
        is_default=row["is_default"],
        visibility=Visibility(row["visibility"]),
        created_by=row["created_by"],
        access=Access(row["access"]),
        document_count=row["document_count"],
        chunk_count=row["chunk_count"],
        created_at=row["created_at"],
    )


def _member(row: asyncpg.Record) -> Member:
    return Member(id=row["member_id"], access=Access(row["access"]), created_at=row["created_at"])
