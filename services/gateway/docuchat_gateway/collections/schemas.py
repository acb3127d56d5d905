"""What goes over the wire."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_common.defusing import defuse
from docuchat_common.http.json_body import Name, StrictBody
from docuchat_knowledge.collections.domain import Access, Collection, Kind, Member, Visibility


class NewCollection(StrictBody):
    """A collection to make."""

    name: Name
    visibility: Visibility = Visibility.TENANT


class CollectionChange(StrictBody):
    """What is to be otherwise; what is not given stays."""

    name: Name | None = None
    visibility: Visibility | None = None


class CollectionView(BaseModel):
    """A set of documents."""

    id: UUID
    name: str
    kind: Kind = Field(
        description="`chatbot`: the documents of the chatbot that has this id; `attachments`: your files in chats."
    )
    visibility: Visibility = Field(
        description="`tenant`: read by all of the tenant; `restricted`: by its members, admins and owners."
    )
    is_default: bool = Field(description="What is uploaded without a collection goes to this one.")
    access: Access = Field(description="What you may do in it.")
    documents: int
    created_by: UUID | None
    created_at: datetime

    @classmethod
    def of(cls, collection: Collection) -> "CollectionView":
        return cls(
            id=collection.id,
            name=defuse(collection.name),
            kind=collection.kind,
            visibility=collection.visibility,
            is_default=collection.is_default,
            access=collection.access,
            documents=collection.document_count,
            created_by=collection.created_by,
            created_at=collection.created_at,
        )


class NewMember(StrictBody):
    """What a member may do."""

    access: Access


class MemberView(BaseModel):
    """A user, a group or an API key that a collection is open to."""

    id: UUID
    access: Access
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> "MemberView":
        return cls(id=member.id, access=member.access, created_at=member.created_at)


class CollectionReceiptView(BaseModel):
    """The receipt of a deletion."""

    id: UUID
    documents_deleted: int
