"""What goes wrong at a model provider: one meaning for answers and embeddings alike.

Nothing of it is the asker's fault, so no error here is a 4xx but the provider's own rate limit. What a provider refuses
for its operator's sake (key, credit, model, address) is `provider_refused`, logged as `provider.refused` with its
status.
"""

from __future__ import annotations

from docuchat_common.errors import RateLimited, UpstreamUnavailable


class ProviderRateLimited(RateLimited):
    """The model provider takes no more requests now; ask again later."""

    code = "provider_rate_limited"


class ProviderTimeout(UpstreamUnavailable):
    """The model provider fell silent."""

    code = "provider_timeout"


class ProviderFailed(UpstreamUnavailable):
    """The model provider failed."""

    code = "provider_error"


class ProviderRefused(UpstreamUnavailable):
    """The model provider refused the request; the operator should check its key, credit, model and address."""

    code = "provider_refused"


class ProviderInterrupted(UpstreamUnavailable):
    """The model provider cut the answer short; what came is kept."""

    code = "provider_interrupted"


class EmbeddingRefused(ProviderRefused):
    """The embedding provider refused these texts, or answered with vectors of another shape."""

    code = "embedding_refused"


class EmbeddingInvalid(EmbeddingRefused):
    """The embedding provider sent vectors that are zero or no numbers, twice."""

    code = "embedding_invalid"

    def __init__(self, *, tokens: int | None = None, counted: int = 0) -> None:
        """`tokens`: what the provider says that both cost, None when it does not; `counted`: our own count."""
        super().__init__()
        self.tokens = tokens
        self.counted = counted
