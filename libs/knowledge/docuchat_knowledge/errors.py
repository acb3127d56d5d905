"""Errors of the knowledge base."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput, NotFound


class DocumentNotFound(NotFound):
    """There is no such document."""

    code = "document_not_found"


class CollectionNotFound(NotFound):
    """There is no such collection."""

    code = "collection_not_found"


class DocumentNotFailed(Conflict):
    """Only a failed document can be retried."""

    code = "document_not_failed"


class ClaimLost(Conflict):
    """The document was deleted or taken over by another worker."""

    code = "claim_lost"


class ChunksOutOfOrder(InvalidInput):
    """Chunks must be written in order, without a gap."""

    code = "chunks_out_of_order"


class SpaceUnknown(NotFound):
    """The embedding space is not set up: run `python -m docuchat_knowledge ensure-space` as the migration job does."""

    code = "embedding_space_unknown"
