"""What goes wrong at a model provider."""

from __future__ import annotations

from docuchat_common.errors import InvalidInput, RateLimited, UpstreamUnavailable


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
    """The model provider refused the request; the operator should check its key, model and address."""

    code = "provider_refused"


class ProviderInterrupted(UpstreamUnavailable):
    """The model provider cut the answer short; what came is kept."""

    code = "provider_interrupted"


class EmbeddingRefused(InvalidInput):
    """The embedding provider refused the request."""

    code = "embedding_refused"
