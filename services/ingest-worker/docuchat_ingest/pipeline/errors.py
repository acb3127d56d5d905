"""What goes wrong on a document's way, beside what its reader says."""

from docuchat_common.errors import UpstreamUnavailable


class EmbeddingUnavailable(UpstreamUnavailable):
    """The embedding provider does not answer."""

    code = "embedding_unavailable"
