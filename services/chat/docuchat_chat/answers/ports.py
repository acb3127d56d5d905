"""What answers need from the world."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from docuchat_chat.answers.domain import Library, Passage, PromptMessage, Source
from docuchat_chat.answers.prompt import CountsTokens
from docuchat_common.events.envelope import Event
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId
from docuchat_models.chat import Piece


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """A question in the embedding space; `vector` is (d,) float32, typed `Any` because the domain knows no arrays."""

    vector: Any
    provider: str
    model: str
    tokens: int
    estimated: bool
    billable: bool


class QuestionEmbedder(Protocol):
    """Embeds questions."""

    @property
    def billable(self) -> bool:
        """Whether a provider is asked, and paid."""
        ...

    async def embed(self, question: str) -> QuestionVector:
        """Return the question's vector. Raises RateLimited or UpstreamUnavailable."""
        ...


class PassageSearch(Protocol):
    """Finds passages in the tenant's live documents."""

    async def search(
        self,
        tenant_id: TenantId,
        question: str,
        vector: QuestionVector | None,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> list[Passage]:
        """Return the best passages, best first; without a vector by words alone."""
        ...

    async def library(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId] | None, collection_id: CollectionId | None
    ) -> Library:
        """Return how many documents are ready, being processed, failed."""
        ...

    async def passages(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> list[Passage]:
        """Return the passages that still exist."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What a model is asked."""

    model: str
    messages: tuple[PromptMessage, ...]
    sources: tuple[Source, ...]
    question: str
    max_output_tokens: int
    tenant_id: TenantId


class AnswerModel(Protocol):
    """A language model, or what stands in for one."""

    @property
    def provider(self) -> str:
        """The provider's name in the books."""
        ...

    def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer. Raises Provider… errors; nothing is retried inside. Closing the iterator ends the call."""
        ...


class CounterFor(Protocol):
    """Gives the token counter of a model."""

    def __call__(self, model: str) -> CountsTokens:
        """Return the counter; cheap, counters are kept."""
        ...


class EventSink(Protocol):
    """Publishes events if, and only if, the transaction commits."""

    def add(self, event: Event) -> None:
        """Add an event to the transaction."""
        ...


class AnswersTx(Protocol):
    """What of a transaction search uses."""

    @property
    def search(self) -> PassageSearch:
        """Search in the tenant's documents."""
        ...

    @property
    def outbox(self) -> EventSink:
        """Events that are published with the transaction."""
        ...


Tx_co = TypeVar("Tx_co", covariant=True)


class Transactions(Protocol[Tx_co]):
    """Opens units of work."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Tx_co]:
        """Open a transaction inside one tenant."""
        ...

    def system(self) -> AbstractAsyncContextManager[Tx_co]:
        """Open a transaction across tenants, for sweeps."""
        ...
