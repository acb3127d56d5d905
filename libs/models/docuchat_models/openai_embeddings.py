"""Embeddings of any OpenAI-compatible provider."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from docuchat_common.errors import RateLimited
from docuchat_models.embeddings import EmbeddingBatch, normalize
from docuchat_models.errors import EmbeddingRefused, ProviderFailed, ProviderInterrupted
from docuchat_models.providers import read_retry_after
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import Throttle
from docuchat_models.tokens import TokenCounter

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MOST_INPUTS = 2048
"""Texts a request, OpenAI's limit."""
MOST_TOKENS = 100_000
"""Tokens a request: a third of OpenAI's limit of 300,000, since our counts are estimates for other models."""
LONGEST_INPUT = 8_191
"""Tokens a text, OpenAI's limit; longer ones are cut for their vector only."""
DEFAULT_PAUSE = timedelta(seconds=5)
"""After a 429 that does not say how long."""


class OpenAIEmbedder:
    """Embeddings of an OpenAI-compatible provider, asked as base64 (float32, little endian).

    All processes of one provider account share `throttle`: after a 429 nobody asks before the time the provider named.
    """

    def __init__(
        self,
        client: AsyncOpenAI,
        space: EmbeddingSpace,
        throttle: Throttle,
        *,
        send_dimensions: bool = False,
        longest_wait: timedelta = timedelta(seconds=5),
    ) -> None:
        """`longest_wait`: a pause up to this is sat out here, a longer one is RateLimited for the caller to come
        back.
        """
        self._client = client
        self._space = space
        self._throttle = throttle
        self._send_dimensions = send_dimensions
        self._longest_wait = longest_wait
        self._counter = TokenCounter.for_model(space.model)

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        return self._space

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts, in as many requests as their tokens take.

        Raises RateLimited, ProviderFailed, ProviderInterrupted (it may be billed), EmbeddingRefused.
        """
        vectors = np.empty((len(texts), self._space.dimension), np.float32)
        tokens, estimated = 0, False
        for start, batch, counted in self._split(texts):
            rows, used = await self._request(batch)
            vectors[start : start + len(batch)] = rows
            tokens += counted if used is None else used
            estimated = estimated or used is None
        return EmbeddingBatch(normalize(vectors), tokens, estimated)

    def _split(self, texts: Sequence[str]) -> list[tuple[int, list[str], int]]:
        """Requests as (first text's index, texts, tokens), within the provider's limits."""
        requests: list[tuple[int, list[str], int]] = []
        for index, text in enumerate(texts):
            # providers refuse an empty input
            fitted = self._counter.truncate(text, LONGEST_INPUT) or " "
            count = self._counter.count(fitted)
            if requests:
                start, batch, counted = requests[-1]
                if len(batch) < MOST_INPUTS and counted + count <= MOST_TOKENS:
                    batch.append(fitted)
                    requests[-1] = (start, batch, counted + count)
                    continue
            requests.append((index, [fitted], count))
        return requests

    async def _request(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], int | None]:
        pause = await self._throttle.remaining_pause()
        if pause > self._longest_wait:
            raise RateLimited("The embedding provider asked for a pause.", retry_after=pause)
        if pause:
            await asyncio.sleep(pause.total_seconds())
        from openai import omit

        try:
            # the raw response: the SDK would turn base64 into lists of floats, one object a number
            response = await self._client.embeddings.with_raw_response.create(
                model=self._space.model,
                input=list(texts),
                encoding_format="base64",
                dimensions=self._space.dimension if self._send_dimensions else omit,
            )
        except Exception as error:
            translated = await self._translate(error)
            if translated is None:
                raise
            raise translated from error
        return self._read(response.http_response.content, len(texts))

    def _read(self, content: bytes, expected: int) -> tuple[npt.NDArray[np.float32], int | None]:
        import orjson

        try:
            body = orjson.loads(content)
            items = sorted(body["data"], key=lambda item: item["index"])
            rows = np.stack([_decode(item["embedding"]) for item in items])
            usage = body.get("usage") or {}
            tokens = usage.get("prompt_tokens", usage.get("total_tokens"))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ProviderFailed("The embedding provider sent an answer that cannot be read.") from error
        if rows.shape != (expected, self._space.dimension):
            raise EmbeddingRefused(
                f"The embedding provider sent {rows.shape[0]} vectors of {rows.shape[1]} dimensions, "
                f"not {expected} of {self._space.dimension}; set EMBEDDING_DIMENSIONS to what the model gives."
            )
        return rows, int(tokens) if isinstance(tokens, int) and tokens > 0 else None

    async def _translate(self, error: Exception) -> Exception | None:  # noqa: PLR0911 - one return for each case
        """The provider's errors in our words; None for what is not the provider's."""
        import openai

        if isinstance(error, openai.RateLimitError):
            if getattr(error, "code", None) == "insufficient_quota":
                return EmbeddingRefused("The embedding provider says that the account's credit is used up.")
            retry_after = read_retry_after(error.response.headers) or DEFAULT_PAUSE
            await self._throttle.pause(retry_after)
            return RateLimited("The embedding provider limits requests.", retry_after=retry_after)
        if isinstance(error, openai.APIStatusError):
            if error.status_code >= 500 or error.status_code in (408, 409, 425):
                return ProviderFailed(
                    f"The embedding provider failed with status {error.status_code}.",
                    retry_after=read_retry_after(error.response.headers),
                )
            return EmbeddingRefused(f"The embedding provider refused the request with status {error.status_code}.")
        if isinstance(error, openai.APIConnectionError):
            if _never_left(error):
                return ProviderFailed("The embedding provider cannot be reached.")
            # it may have done the work, and bill it
            return ProviderInterrupted("The embedding provider's answer was lost.")
        if isinstance(error, openai.APIError):
            return ProviderFailed("The embedding provider sent an answer that cannot be read.")
        return None


def _never_left(error: BaseException) -> bool:
    """Whether no connection was made; the HTTP client's own errors call a dropped one so, too."""
    import aiohttp

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return True
        cause = cause.__cause__
    return False


def _decode(embedding: str | list[float]) -> npt.NDArray[np.float32]:
    # some compatible servers ignore encoding_format and send numbers
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.asarray(embedding, np.float32)
