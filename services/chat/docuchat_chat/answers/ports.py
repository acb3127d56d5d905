"""What answers need from the world."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from docuchat_chat.answers.domain import DocumentName, Findings, Hold, Library, Passage, PromptMessage, Source
from docuchat_chat.answers.prompt import CountsTokens
from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.terms import NO_TERMS, Terms
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, HoldId, TenantId
from docuchat_common.messaging.outbox import Outbox
from docuchat_models.chat import Piece


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """A question in the embedding space; `vector` is (d,) float32, typed `Any` because the domain knows no arrays."""

    vector: Any
    tokens: int
    estimated: bool


class Priced(Protocol):
    """What tokens are held and booked for."""

    @property
    def provider(self) -> str:
        """The provider's name in the books."""
        ...

    @property
    def model(self) -> str:
        """The model as the provider knows it."""
        ...


class QuestionEmbedder(Protocol):
    """Embeds questions."""

    @property
    def billable(self) -> bool:
        """Whether a provider is asked, and paid."""
        ...

    @property
    def provider(self) -> str:
        """The provider's name in the books."""
        ...

    @property
    def model(self) -> str:
        """The embedding model."""
        ...

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        ...

    async def embed(self, question: str) -> QuestionVector:
        """Return the question's vector. Raises RateLimited or UpstreamUnavailable."""
        ...


class EmbeddingHolds(Protocol):
    """The usage service's holds on quotas."""

    async def open(
        self, caller: Caller, priced: Priced, input_tokens: int, output_tokens: int, terms: Terms = NO_TERMS
    ) -> Hold:
        """Keep tokens back. Raises QuotaExceeded with the reset time, DemoLimitReached, UpstreamUnavailable."""
        ...

    async def release(self, hold_id: HoldId) -> None:
        """Release an unused hold; trouble is logged (the lease runs out), not raised."""
        ...


class PassageSearch(Protocol):
    """Finds passages in the live documents that the caller of the transaction may see."""

    async def search(
        self,
        tenant_id: TenantId,
        question: str,
        vector: Any,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> Findings:
        """Return the best passages, best first; without a vector by words alone."""
        ...

    async def library(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId] | None, collection_id: CollectionId | None
    ) -> Library:
        """Return how many documents are ready, being processed, failed."""
        ...

    async def deleted(self, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Return those documents that do not exist any more."""
        ...

    async def hidden(
        self,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId],
        collections: Sequence[CollectionId] | None = None,
    ) -> list[DocumentId]:
        """Return those documents that the caller may not see, or that do not exist any more.

        With `collections` those that are in none of them.
        """
        ...

    async def unknown_collections(
        self, tenant_id: TenantId, collection_ids: Sequence[CollectionId]
    ) -> list[CollectionId]:
        """Return those collections that the caller may not see, or that do not exist."""
        ...

    async def names(
        self,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId],
        collections: Sequence[CollectionId] | None = None,
    ) -> dict[DocumentId, DocumentName]:
        """Return what those documents are called that the caller may see; with `collections` those that are in one."""
        ...

    async def passages(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> list[Passage]:
        """Return the passages that still exist."""
        ...

    async def openings(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[Passage]:
        """Return the first passage of each document."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """What a model is asked; `model` is its name as the provider knows it."""

    model: str
    setup: Setup
    messages: tuple[PromptMessage, ...]
    sources: tuple[Source, ...]
    question: str
    max_output_tokens: int
    tenant_id: TenantId
    patience: timedelta | None = None
    """After so long without a word whoever asks gives up; None: whoever gives up says nothing of the provider."""


class AnswerModel(Protocol):
    """A language model, or what stands in for one."""

    @property
    def has_own_knowledge(self) -> bool:
        """Whether it can say more than stands in the sources."""
        ...

    def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer. Raises Provider… errors; nothing is retried inside. Closing the iterator ends the call."""
        ...


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that may be asked, and who answers for it."""

    name: str
    """As it is asked for and shown: `provider/name`, or the bare name of one that the environment names."""
    provider: str
    """The provider's name in the books."""
    model: str
    """As the provider knows it: what it is sent, and what is booked."""
    answers: AnswerModel
    is_down: bool = False
    """Whether its provider is known to answer nobody at the moment."""
    context_window: int | None = None
    """Tokens that it takes, question and answer together; None where nobody said."""


class AnswerModels(Protocol):
    """The models that a tenant may ask."""

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        """Return what serves a model, by its bare name or as `provider/name`. Raises ModelNotAllowed."""
        ...

    async def list_models(self, tenant_id: TenantId) -> Sequence[ServedModel]:
        """Return all of them, each once, in the order in which they are shown."""
        ...


CounterFor = Callable[[str], CountsTokens]
"""Gives the token counter of a model; cheap, counters are kept."""


class AnswersTx(Protocol):
    """What of a transaction search uses."""

    @property
    def search(self) -> PassageSearch:
        """Search in the tenant's documents."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Events that are published with the transaction."""
        ...
