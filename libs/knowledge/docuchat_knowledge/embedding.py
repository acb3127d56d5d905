"""Text to vectors: any OpenAI-compatible provider, or WordLlama, whose weights come with its wheel."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_knowledge.domain import EmbeddingSpace
from docuchat_knowledge.errors import EmbeddingRefused
from docuchat_knowledge.settings import EmbeddingSettings
from docuchat_knowledge.throttle import NoThrottle, Throttle
from docuchat_knowledge.tokens import TokenCounter

if TYPE_CHECKING:
    from openai import AsyncOpenAI

KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "nomic-ai/nomic-embed-text-v1.5": 768,
    "nomic-embed-text": 768,
    "mxbai-embed-large": 1024,
    "intfloat/multilingual-e5-large": 1024,
    "BAAI/bge-m3": 1024,
    "BAAI/bge-small-en-v1.5": 384,
}
"""Native dimensions, from the models' cards; others are asked by one embedding at set-up."""
SHORTENABLE = frozenset(("text-embedding-3-small", "text-embedding-3-large"))
"""Models that are sent the `dimensions` parameter."""
MOST_INPUTS = 2048
"""Texts a request, OpenAI's limit."""
MOST_TOKENS = 100_000
"""Tokens a request: a third of OpenAI's limit of 300,000, since our counts are estimates for other models."""
LONGEST_INPUT = 8_191
"""Tokens a text, OpenAI's limit; longer ones are cut for their vector only."""
DEFAULT_PAUSE = timedelta(seconds=5)
"""After a 429 that does not say how long."""


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """Vectors (n, d) float32 of unit length, in the order of the texts, and the tokens they cost.

    `estimated` is True when the provider gave no usage and the tokens were counted here.
    """

    vectors: npt.NDArray[np.float32]
    tokens: int
    estimated: bool


class Embedder(Protocol):
    """Port to an embedding model; safe for concurrent use."""

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        ...

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts. Raises RateLimited, UpstreamUnavailable, EmbeddingRefused."""
        ...


class WordLlamaEmbedder:
    """WordLlama's static token embeddings, 256 dimensions (https://github.com/dleemiller/WordLlama).

    Token vectors distilled from a large language model, averaged: no network, no GPU, about 20,000 chunks a second.
    Made for
    English first. An empty text has the zero vector.
    """

    SPACE = EmbeddingSpace(provider="wordllama", model="l2_supercat", dimension=256)
    _SLICE = 256

    def __init__(self) -> None:
        """Open the files in the wheel's own folder; takes about 0.1 s and touches no network.

        The package's own loader copies the weights twice, 48 MB; here they stay a map of the file, which all processes
        of a machine share, and rows become float32 as they are used: the same numbers.
        """
        from tokenizers import Tokenizer

        package = find_spec("wordllama")
        if package is None or package.origin is None:
            raise RuntimeError("wordllama is not installed")
        folder = Path(package.origin).parent
        self._weights = _map_weights(folder / "weights" / "l2_supercat_256.safetensors", self.SPACE.dimension)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        return self.SPACE

    @property
    def encoding_name(self) -> str:
        """Name of its vocabulary."""
        return self.SPACE.model

    def count(self, text: str) -> int:
        """Tokens of the text in its own vocabulary (that of Llama 2)."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts, in a thread, in slices, so that the event loop and other threads go on."""
        if not texts:
            return EmbeddingBatch(np.empty((0, self.SPACE.dimension), np.float32), 0, estimated=False)
        if len(texts) == 1 and len(texts[0]) < 4_000:  # a question takes 50 µs, a thread more
            vectors, tokens = self._embed_slice(texts)
            return EmbeddingBatch(vectors, tokens, estimated=False)
        parts = [
            await asyncio.to_thread(self._embed_slice, texts[start : start + self._SLICE])
            for start in range(0, len(texts), self._SLICE)
        ]
        return EmbeddingBatch(
            np.concatenate([vectors for vectors, _ in parts]), sum(tokens for _, tokens in parts), estimated=False
        )

    def _embed_slice(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], int]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        vectors = np.zeros((len(encodings), self.SPACE.dimension), np.float32)
        for row, encoding in enumerate(encodings):
            if encoding.ids:
                vectors[row] = self._weights[encoding.ids].astype(np.float32).sum(axis=0)
        return normalize(vectors), sum(map(len, encodings))


def _map_weights(path: Path, dimension: int) -> npt.NDArray[np.float16]:
    """The one matrix (vocabulary, dimension) of a safetensors file: 8 bytes, the length of a JSON header; it; data."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        tensors = {name: entry for name, entry in json.loads(file.read(size)).items() if name != "__metadata__"}
    (tensor,) = tensors.values()
    rows, columns = tensor["shape"]
    if tensor["dtype"] != "F16" or columns != dimension:
        raise RuntimeError(f"{path.name} holds {tensor['dtype']} of {columns} dimensions, not F16 of {dimension}")
    return np.memmap(path, "<f2", mode="r", offset=8 + size + tensor["data_offsets"][0], shape=(rows, columns))


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

        Raises RateLimited, UpstreamUnavailable, EmbeddingRefused.
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
            raise UpstreamUnavailable("The embedding provider sent an answer that cannot be read.") from error
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
                return UpstreamUnavailable(
                    f"The embedding provider failed with status {error.status_code}.",
                    retry_after=read_retry_after(error.response.headers),
                )
            return EmbeddingRefused(f"The embedding provider refused the request with status {error.status_code}.")
        if isinstance(error, openai.APIConnectionError):
            return UpstreamUnavailable("The embedding provider cannot be reached.")
        if isinstance(error, openai.APIError):
            return UpstreamUnavailable("The embedding provider sent an answer that cannot be read.")
        return None


def normalize(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, d) to rows of unit length; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def read_retry_after(headers: Any) -> timedelta | None:
    """`retry-after-ms`, or `Retry-After` in seconds or as a date (RFC 9110 §10.2.3); None when neither helps."""
    milliseconds, seconds = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            return timedelta(milliseconds=float(milliseconds))
        if seconds:
            return timedelta(seconds=float(seconds))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(seconds) if seconds else None
    except ValueError:
        return None
    if moment is None:
        return None
    return max(moment - datetime.now(UTC), timedelta(0)) if moment.tzinfo else None


def _decode(embedding: str | list[float]) -> npt.NDArray[np.float32]:
    # some compatible servers ignore encoding_format and send numbers
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4").astype(np.float32)
    return np.asarray(embedding, np.float32)


@asynccontextmanager
async def open_embedder(settings: EmbeddingSettings, throttle: Throttle | None = None) -> AsyncIterator[Embedder]:
    """The embedder that the settings ask for: the provider's with an OPENAI_API_KEY, WordLlama without."""
    if not settings.embeds_with_openai:
        yield await asyncio.to_thread(WordLlamaEmbedder)
        return
    async with _open_client(settings) as client:
        dimension = await _find_dimension(client, settings)
        space = EmbeddingSpace(provider_name(settings.openai_base_url), settings.embedding_model, dimension)
        yield OpenAIEmbedder(client, space, throttle or NoThrottle(), send_dimensions=_sends_dimensions(settings))


async def find_space(settings: EmbeddingSettings) -> EmbeddingSpace:
    """The space of the settings' embedder, without loading a model."""
    if not settings.embeds_with_openai:
        return WordLlamaEmbedder.SPACE
    async with _open_client(settings) as client:
        dimension = await _find_dimension(client, settings)
    return EmbeddingSpace(provider_name(settings.openai_base_url), settings.embedding_model, dimension)


def provider_name(base_url: str) -> str:
    """What tells providers apart in a space: the host they are reached at, `openai` for OpenAI's own."""
    from urllib.parse import urlsplit

    host = urlsplit(base_url).hostname or "openai"
    return "openai" if host == "api.openai.com" else host


@asynccontextmanager
async def _open_client(settings: EmbeddingSettings) -> AsyncIterator[AsyncOpenAI]:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with (
        DefaultAioHttpClient(timeout=settings.embedding_timeout_seconds) as http_client,
        AsyncOpenAI(
            api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else "none",
            base_url=settings.openai_base_url,
            max_retries=0,
            timeout=settings.embedding_timeout_seconds,
            http_client=http_client,
        ) as client,
    ):
        yield client


def _sends_dimensions(settings: EmbeddingSettings) -> bool:
    return settings.embedding_dimensions is not None and settings.embedding_model in SHORTENABLE


async def _find_dimension(client: AsyncOpenAI, settings: EmbeddingSettings) -> int:
    if settings.embedding_dimensions is not None:
        return settings.embedding_dimensions
    if settings.embedding_model in KNOWN_DIMENSIONS:
        return KNOWN_DIMENSIONS[settings.embedding_model]
    response = await client.embeddings.create(
        model=settings.embedding_model, input="dimension", encoding_format="float"
    )
    return len(response.data[0].embedding)
