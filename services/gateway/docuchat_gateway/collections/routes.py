"""`/v1/collections`: sets of documents, and who may read, write and manage them."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import CollectionId
from docuchat_gateway.collections.schemas import (
    CollectionChange,
    CollectionReceiptView,
    CollectionView,
    MemberView,
    NewCollection,
    NewMember,
)
from docuchat_gateway.collections.service import CollectionService
from docuchat_knowledge.collections.errors import (
    CollectionNotEmpty,
    CollectionNotFound,
    CollectionOfChatbot,
    DefaultCollection,
    MemberNotFound,
    TooManyCollections,
    TooManyMembers,
)

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=JsonRoute)


Collections = Annotated[CollectionService, provided("collections")]
Reader = Annotated[Caller, requires("documents.read")]
Writer = Annotated[Caller, requires("documents.add")]
Admin = Annotated[Caller, requires("collections.manage")]
CollectionPath = Annotated[UUID, Path(description="Id of a collection.")]
MemberPath = Annotated[UUID, Path(description="Id of a user, a group or an API key of the tenant.")]


@router.post("", summary="Make a collection", status_code=201, response_model=CollectionView)
@raises(TooManyCollections, *IDEMPOTENCY_ERRORS)
@audited("collection.create")
async def create_collection(
    caller: Admin, collections: Collections, creating: CurrentCreation, body: NewCollection
) -> Response:
    """Make a collection, which you manage."""
    return await creating.once(
        caller,
        body,
        lambda settle: collections.create(caller, body.name, body.visibility, settle),
        lambda collection: created(CollectionView.of(collection)),
        about=lambda collection: collection.id,
    )


@router.get("", summary="List collections, newest first")
async def list_collections(caller: Reader, collections: Collections, paging: Paging) -> Page[CollectionView]:
    """List the collections that you may read."""
    before = paging.after(1, lambda last: CollectionId(UUID(last)))
    found = await collections.page(caller, limit=paging.rows, before=before)
    return paging.page(found, CollectionView.of, lambda collection: (collection.id,))


@router.get("/{collection_id}", summary="A collection")
@raises(CollectionNotFound)
async def get_collection(caller: Reader, collections: Collections, collection_id: CollectionPath) -> CollectionView:
    return CollectionView.of(await collections.get(caller, CollectionId(collection_id)))


@router.patch("/{collection_id}", summary="Rename, open or restrict a collection")
@raises(CollectionNotFound, DefaultCollection, CollectionOfChatbot)
@audited("collection.change")
async def change_collection(
    caller: Writer, collections: Collections, collection_id: CollectionPath, body: CollectionChange
) -> CollectionView:
    """Change a collection that you manage; what is restricted is hidden from others from the next request on."""
    changed = await collections.update(caller, CollectionId(collection_id), name=body.name, visibility=body.visibility)
    return CollectionView.of(changed)


@router.delete("/{collection_id}", summary="Delete a collection")
@raises(CollectionNotFound, DefaultCollection, CollectionOfChatbot, CollectionNotEmpty)
@audited("collection.delete")
async def delete_collection(
    caller: Writer,
    collections: Collections,
    collection_id: CollectionPath,
    documents: Annotated[
        Literal["delete"] | None, Query(description="`delete` deletes its documents, too; else it must be empty.")
    ] = None,
) -> CollectionReceiptView:
    """Delete a collection that you manage. What was cut short can be repeated."""
    deleted = await collections.delete(caller, CollectionId(collection_id), with_documents=documents == "delete")
    return CollectionReceiptView(id=collection_id, documents_deleted=deleted)


@router.get("/{collection_id}/members", summary="List the members of a collection")
@raises(CollectionNotFound)
async def list_collection_members(
    caller: Writer, collections: Collections, collection_id: CollectionPath, paging: Paging
) -> Page[MemberView]:
    """List the members of a collection that you manage. Admins and owners need not be members."""
    found = await collections.list_members(
        caller, CollectionId(collection_id), limit=paging.rows, after=paging.after(1, UUID)
    )
    return paging.page(found, MemberView.of, lambda member: (member.id,))


@router.put("/{collection_id}/members/{member_id}", summary="Make somebody a member of a collection")
@raises(CollectionNotFound, TooManyMembers)
@audited("collection.put_member")
async def put_collection_member(
    caller: Writer, collections: Collections, collection_id: CollectionPath, member_id: MemberPath, body: NewMember
) -> MemberView:
    """Give a user, a group or an API key access to a collection that you manage, instead of what it had."""
    return MemberView.of(await collections.put_member(caller, CollectionId(collection_id), member_id, body.access))


@router.delete("/{collection_id}/members/{member_id}", summary="Take a member out of a collection", status_code=204)
@raises(CollectionNotFound, MemberNotFound)
@audited("collection.remove_member")
async def remove_collection_member(
    caller: Writer, collections: Collections, collection_id: CollectionPath, member_id: MemberPath
) -> Response:
    """End a membership; the member's next request does not see the collection any more, unless it is the tenant's."""
    await collections.remove_member(caller, CollectionId(collection_id), member_id)
    return Response(status_code=204)
