"""Written by scripts/write_blocking.py from sharing.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.identity import Access, Collection, CollectionMember, DeletedCollection, Visibility


class BlockingSharing(Blocking):
    """The part of a client that is about who reads what."""

    _client: AsyncDocuChat

    def collections(self) -> Iterator[Collection]:
        """Every collection that one may read, the newest first."""
        return self._loop.iterate(self._client.collections())

    def collection(self, collection_id: UUID | str) -> Collection:
        """One collection."""
        return self._loop.run(self._client.collection(collection_id))

    def find_collection(self, reference: UUID | str) -> Collection:
        """The collection of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_collection(reference))

    def create_collection(
        self, name: str, visibility: Visibility = "tenant", *, idempotency_key: str | None = None
    ) -> Collection:
        """A collection, for all of the tenant or `restricted` to its members."""
        return self._loop.run(self._client.create_collection(name, visibility, idempotency_key=idempotency_key))

    def change_collection(
        self, collection_id: UUID | str, *, name: str | None = None, visibility: Visibility | None = None
    ) -> Collection:
        """Rename, open or restrict a collection."""
        return self._loop.run(self._client.change_collection(collection_id, name=name, visibility=visibility))

    def delete_collection(self, collection_id: UUID | str, *, with_documents: bool = False) -> DeletedCollection:
        """Delete a collection, which must be empty unless its documents go, too."""
        return self._loop.run(self._client.delete_collection(collection_id, with_documents=with_documents))

    def collection_members(self, collection_id: UUID | str) -> Iterator[CollectionMember]:
        """Everybody whom a collection is open to by name."""
        return self._loop.iterate(self._client.collection_members(collection_id))

    def put_collection_member(
        self, collection_id: UUID | str, member_id: UUID | str, access: Access
    ) -> CollectionMember:
        """Give a user, a group or an API key access, in place of what it had."""
        return self._loop.run(self._client.put_collection_member(collection_id, member_id, access))

    def remove_collection_member(self, collection_id: UUID | str, member_id: UUID | str) -> None:
        """End a membership."""
        self._loop.run(self._client.remove_collection_member(collection_id, member_id))
