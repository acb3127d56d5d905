"""Collections of documents, and who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from docuchat_client.calls import Calls
from docuchat_client.errors import NotFound
from docuchat_client.identity import Access, Collection, CollectionMember, DeletedCollection, Visibility
from docuchat_client.models import Page


class Sharing(Calls):
    """The part of a client that is about who reads what."""

    def collections(self) -> AsyncIterator[Collection]:
        """Every collection that one may read, the newest first."""
        return self._every(Page[Collection], "/v1/collections")

    async def collection(self, collection_id: UUID | str) -> Collection:
        """One collection."""
        return await self._get(Collection, "GET", f"/v1/collections/{collection_id}")

    async def find_collection(self, reference: UUID | str) -> Collection:
        """The collection of this name or id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for collection in self.collections():
            if named in (str(collection.id), collection.name.casefold()):
                return collection
        message = f"There is no collection {reference!r} that you may see; `docuchat collections list` shows them."
        raise NotFound(message, code="collection_not_found")

    async def create_collection(
        self, name: str, visibility: Visibility = "tenant", *, idempotency_key: str | None = None
    ) -> Collection:
        """A collection, for all of the tenant or `restricted` to its members."""
        body = {"name": name, "visibility": visibility}
        return await self._create(Collection, "/v1/collections", body, idempotency_key)

    async def change_collection(
        self, collection_id: UUID | str, *, name: str | None = None, visibility: Visibility | None = None
    ) -> Collection:
        """Rename, open or restrict a collection."""
        body = {key: value for key, value in (("name", name), ("visibility", visibility)) if value is not None}
        path = f"/v1/collections/{collection_id}"
        return await self._get(Collection, "PATCH", path, json=body, repeatable=True)

    async def delete_collection(self, collection_id: UUID | str, *, with_documents: bool = False) -> DeletedCollection:
        """Delete a collection, which must be empty unless its documents go, too."""
        params = {"documents": "delete" if with_documents else None}
        return await self._get(DeletedCollection, "DELETE", f"/v1/collections/{collection_id}", params=params)

    def collection_members(self, collection_id: UUID | str) -> AsyncIterator[CollectionMember]:
        """Everybody whom a collection is open to by name."""
        return self._every(Page[CollectionMember], f"/v1/collections/{collection_id}/members")

    async def put_collection_member(
        self, collection_id: UUID | str, member_id: UUID | str, access: Access
    ) -> CollectionMember:
        """Give a user, a group or an API key access, in place of what it had."""
        path = f"/v1/collections/{collection_id}/members/{member_id}"
        return await self._get(CollectionMember, "PUT", path, json={"access": access})

    async def remove_collection_member(self, collection_id: UUID | str, member_id: UUID | str) -> None:
        """End a membership."""
        await self._transport.request("DELETE", f"/v1/collections/{collection_id}/members/{member_id}")
