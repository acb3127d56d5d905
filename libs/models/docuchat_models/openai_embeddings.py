"""Embeddings of any OpenAI-compatible provider."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import structlog

from docuchat_models.embeddings import EmbeddingBatch, are_vectors, normalize
from docuchat_models.errors import (
    Cost,
    EmbeddingInvalid,
    EmbeddingRefused,
    ProviderError,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderTimeout,
)
from docuchat_models.providers import LONGEST_PAUSE
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import Throttle
from docuchat_models.tokens import TokenCounter

if TYPE_CHECKING:
    from openai import AsyncOpenAI

logger = structlog.get_logger()

MOST_INPUTS = 2048
"""Texts a request, OpenAI's limit."""
MOST_TOKENS = 100_000
"""Tokens a request: a third of OpenAI's limit of 300,000, since our counts are estimates for other models."""
LONGEST_INPUT = 8_191
"""Tokens a text, OpenAI's limit; longer ones are cut for their vector only."""
DEFAULT_PAUSE = timedelta(seconds=5)
"""After a 429 that does not say how long."""
MOST_BYTES = 32
"""Of an answer, for each number of a vector: base64 takes six, an indented list of decimals thirty."""
SLACK = 64 * 1024
"""Bytes of an answer besides."""
_LONG = 4_000
"""Characters; counting more takes too long for the event loop."""
_ABOUT_THE_TEXTS = (400, 413, 422)
_LOST_ANSWER = "The embedding provider's answer was lost."


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
        longest_pause: timedelta = LONGEST_PAUSE,
        timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        """`longest_wait`: a pause up to this is sat out here, a longer one is ProviderRateLimited for the caller
        to come back; `longest_pause`: what the provider may ask for at most; `timeout`: for one request with all of
        its answer.
        """
        self._client = client
        self._space = space
        self._throttle = throttle
        self._send_dimensions = send_dimensions
        self._longest_wait = longest_wait
        self._longest_pause = longest_pause
        self._timeout = timeout
        self._counter = TokenCounter.for_model(space.model)

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        return self._space

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts, in as many requests as their tokens take.

        A request whose vectors are zero or no numbers is made again, once, and both are paid for. Raises
        ProviderRateLimited, ProviderFailed, ProviderInterrupted, ProviderTimeout, ProviderRefused, EmbeddingRefused,
        EmbeddingInvalid; their `cost` is what all requests up to then are billed.
        """
        vectors = np.empty((len(texts), self._space.dimension), np.float32)
        cost = Cost(0, 0)
        try:
            # Beside the loop: a batch of a worker is a second of counting.
            is_short = sum(map(len, texts)) < _LONG
            split = self._split(texts) if is_short else await asyncio.to_thread(self._split, texts)
            for start, batch, counted in split:
                for attempt in (1, 2):
                    content = await self._request(batch, counted)
                    rows, used = self._read(content, len(batch), counted)
                    cost += used
                    if are_vectors(rows):
                        break
                    logger.warning("provider.odd_answer", part="embedding", attempt=attempt)
                else:
                    raise EmbeddingInvalid
                vectors[start : start + len(batch)] = rows
        except ProviderError as error:
            cost += error.cost or Cost(0, 0)
            error.cost = cost if cost.counted else None
            raise
        tokens = cost.counted if cost.tokens is None else cost.tokens
        return EmbeddingBatch(normalize(vectors), tokens, cost.tokens is None, cost.counted)

    def _split(self, texts: Sequence[str]) -> list[tuple[int, list[str], int]]:
        """Requests as (first text's index, texts, tokens), within the provider's limits."""
        requests: list[tuple[int, list[str], int]] = []
        for index, text in enumerate(texts):
            # providers refuse an empty input
            fitted, count = self._counter.fit(text, LONGEST_INPUT)
            if not fitted:
                fitted, count = " ", 1
            if requests:
                start, batch, counted = requests[-1]
                if len(batch) < MOST_INPUTS and counted + count <= MOST_TOKENS:
                    batch.append(fitted)
                    requests[-1] = (start, batch, counted + count)
                    continue
            requests.append((index, [fitted], count))
        return requests

    async def _request(self, texts: Sequence[str], counted: int) -> bytes:
        pause = await self._throttle.remaining_pause()
        if pause > self._longest_wait:
            raise ProviderRateLimited("The embedding provider asked for a pause.", retry_after=pause)
        if pause:
            await asyncio.sleep(pause.total_seconds())
        import openai

        from docuchat_models.openai_client import LOST, read_bounded

        try:
            # the bare response: the SDK would read it without bounds, and turn base64 into one object a number
            async with (
                asyncio.timeout(self._timeout.total_seconds()),
                self._client.embeddings.with_streaming_response.create(
                    model=self._space.model,
                    input=list(texts),
                    encoding_format="base64",
                    dimensions=self._space.dimension if self._send_dimensions else openai.omit,
                ) as response,
            ):
                return await read_bounded(response, len(texts) * self._space.dimension * MOST_BYTES + SLACK)
        except (ProviderError, openai.APIError, *LOST) as error:
            raise await self._translate(error, Cost(None, counted)) from error

    async def _translate(self, error: Exception, sent: Cost) -> Exception:
        """Return our error; with the cost of what was sent where the provider may have done the work, and bill it."""
        import openai

        from docuchat_models.openai_client import translate

        if isinstance(error, ProviderError):
            return error.costing(sent)
        if not isinstance(error, openai.APIError):
            lost = ProviderTimeout() if isinstance(error, TimeoutError) else ProviderInterrupted(_LOST_ANSWER)
            return lost.costing(sent)
        if isinstance(error, openai.APIConnectionError) and not _never_left(error):
            return ProviderInterrupted(_LOST_ANSWER).costing(sent)
        translated = translate(error, longest_pause=self._longest_pause)
        if isinstance(translated, ProviderRateLimited):
            translated.retry_after = translated.retry_after or DEFAULT_PAUSE
            await self._throttle.pause(translated.retry_after)
        elif isinstance(error, openai.APIStatusError) and error.status_code in _ABOUT_THE_TEXTS:
            return EmbeddingRefused(f"The embedding provider refused these texts with status {error.status_code}.")
        return translated

    def _read(self, content: bytes, expected: int, counted: int) -> tuple[npt.NDArray[np.float32], Cost]:
        import orjson

        cost = Cost(None, counted)
        try:
            body = orjson.loads(content)
            cost = Cost(_used_tokens(body.get("usage")), counted)
            items = sorted(body["data"], key=lambda item: item["index"])
            rows = [_decode(item["embedding"]) for item in items]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProviderFailed("The embedding provider sent an answer that cannot be read.").costing(cost) from error
        if [row.shape for row in rows] != [(self._space.dimension,)] * expected:
            raise EmbeddingRefused(
                f"The embedding provider sent {len(rows)} vectors of {sorted({row.size for row in rows})} dimensions, "
                f"not {expected} of {self._space.dimension}; set EMBEDDING_DIMENSIONS to what the model gives."
            ).costing(cost)
        return np.stack(rows), cost


def _used_tokens(usage: object) -> int | None:
    """The provider's figure; None, and a word in the log, when it can mean nothing."""
    if usage is None:
        return None
    figures = usage if isinstance(usage, dict) else {}
    tokens = figures.get("prompt_tokens", figures.get("total_tokens"))
    if type(tokens) is int and 0 < tokens < 2**53:
        return tokens
    logger.warning("provider.odd_answer", part="usage")
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
