"""Errors of collections."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class CollectionNotFound(NotFound):
    """There is no such collection."""

    code = "collection_not_found"


class CollectionNotEmpty(Conflict):
    """The collection has documents; delete them first, or with it by `?documents=delete`."""

    code = "collection_not_empty"


class DefaultCollection(Conflict):
    """What is uploaded without a collection goes to this one: it cannot be deleted or restricted."""

    code = "default_collection"


class CollectionOfChatbot(Conflict):
    """The collection belongs to a chatbot: it goes with the chatbot, and who may ask the chatbot need not read it."""

    code = "collection_of_chatbot"


class TooManyCollections(Conflict):
    """The tenant has as many collections as it can have; delete one first."""

    code = "too_many_collections"


class TooManyMembers(Conflict):
    """The collection has as many members as it can have; make a group of them a member instead."""

    code = "too_many_members"


class MemberNotFound(NotFound):
    """This is no member of the collection."""

    code = "member_not_found"
