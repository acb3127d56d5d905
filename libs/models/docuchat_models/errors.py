"""What goes wrong at a model provider: one meaning for answers and embeddings alike.

Nothing of it is the asker's fault, so no error here is a 4xx but the provider's own rate limit. What a provider refuses
for its operator's sake (key, credit, model, address) is `provider_refused`, logged as `provider.refused` with its
status. What a failed call is booked as is decided by `billed`, for all that ask a provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_common.metering.bounds import TokenBounds, Used, bounded, used_of


@dataclass(frozen=True, slots=True)
class Cost:
    """What a provider has done, and bills, although the call failed."""

    tokens: int | None
    """What it says itself; None when it does not."""
    counted: int
    """Our own count of the same."""

    def __add__(self, other: Cost) -> Cost:
        either_unknown = self.tokens is None or other.tokens is None
        tokens = None if either_unknown else (self.tokens or 0) + (other.tokens or 0)
        return Cost(tokens, self.counted + other.counted)


class ProviderError(Exception):
    """A failure at a provider; `cost` where it is known to have done work."""

    cost: Cost | None = None

    def costing(self, cost: Cost) -> Self:
        """Note what the provider has done by then."""
        self.cost = cost
        return self


class ProviderRateLimited(ProviderError, RateLimited):
    """The model provider takes no more requests now; ask again later."""

    code = "provider_rate_limited"


class ProviderTimeout(ProviderError, UpstreamUnavailable):
    """The model provider fell silent."""

    code = "provider_timeout"


class ProviderFailed(ProviderError, UpstreamUnavailable):
    """The model provider failed."""

    code = "provider_error"


class ProviderRefused(ProviderError, UpstreamUnavailable):
    """The model provider refused the request; the operator should check its key, credit, model and address."""

    code = "provider_refused"


class ProviderInterrupted(ProviderError, UpstreamUnavailable):
    """The model provider cut the answer short; what came is kept."""

    code = "provider_interrupted"


class EmbeddingRefused(ProviderRefused):
    """The embedding provider refused these texts, or answered with vectors of another shape."""

    code = "embedding_refused"


class EmbeddingInvalid(EmbeddingRefused):
    """The embedding provider sent vectors that are zero or no numbers, twice."""

    code = "embedding_invalid"


FREE = (ProviderRateLimited, ProviderFailed, ProviderRefused)
"""The request never left, or was answered with an error status; with a `cost` there was more to it."""


def billed(error: BaseException, expected_tokens: int) -> Used | None:
    """Return what to book for a call that ended in `error`; None when the provider bills nothing.

    A request that was interrupted, or failed in a way that nobody knows, is booked as expected, estimated.
    """
    cost = error.cost if isinstance(error, ProviderError) else None
    if cost is not None:
        return used_of(bounded(cost.tokens, cost.counted, TokenBounds(), "input_tokens"))
    return None if isinstance(error, FREE) else Used(expected_tokens, estimated=True)
