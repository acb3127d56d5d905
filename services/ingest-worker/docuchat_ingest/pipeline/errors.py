"""What goes wrong on a document's way, beside what its reader says."""

from docuchat_common.errors import NotFound, UpstreamUnavailable


class EmbeddingUnavailable(UpstreamUnavailable):
    """The embedding provider does not answer."""

    code = "embedding_unavailable"


class BlobMissing(NotFound):
    """The document's file is not in the blob store."""

    code = "file_missing"
