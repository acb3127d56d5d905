"""The knowledge library behind the ports for search, embedding and counting."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Protocol

import asyncpg

from docuchat_chat.answers.domain import DocumentName, Findings, Library, Passage
from docuchat_chat.answers.notices import outdated_notice
from docuchat_chat.answers.ports import QuestionVector
from docuchat_chat.answers.prompt import source_block
from docuchat_common.db.transactions import naming
from docuchat_common.defusing import defuse
from docuchat_common.ids import ChunkId, CollectionId, DocumentId, TenantId
from docuchat_knowledge.search.domain import ScoredChunk
from docuchat_knowledge.search.service import Searcher
from docuchat_knowledge.search.statistics import SearchStatistics
from docuchat_models.embeddings import Embedder
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.tokens import TokenCounter

REMEMBERED_PASSAGES = 50_000
REMEMBERED_SETS = 10_000


class OutdatedSets:
    """Which sets of collections have documents whose vectors are of another model; asked only once in a while.

    A set has the name that search gives it: readers of the same documents share the answer.
    """

    def __init__(self, *, life: timedelta = timedelta(minutes=1)) -> None:
        self._life = life.total_seconds()
        self._known: dict[str, tuple[float, bool]] = {}

    def is_known(self, searched: str) -> bool:
        """Tell whether it was looked up lately."""
        known = self._known.get(searched)
        return known is not None and time.monotonic() - known[0] < self._life

    def has(self, searched: str) -> bool:
        """Tell whether a set that was looked up has such documents."""
        return self._known[searched][1]

    def note(self, searched: str, has_outdated: bool) -> None:
        """Remember what was looked up."""
        if len(self._known) > REMEMBERED_SETS:
            self._known.clear()
        self._known[searched] = (time.monotonic(), has_outdated)


class KnowledgeSearch:
    """Hybrid search in the caller's transaction."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        statistics: SearchStatistics,
        space: EmbeddingSpace,
        outdated: OutdatedSets,
    ) -> None:
        self._connection = connection
        self._searcher = Searcher(connection, statistics)
        self._space = space
        self._outdated = outdated

    async def search(
        self,
        tenant_id: TenantId,
        question: str,
        vector: Any,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> Findings:
        """Return the best passages, best first. DocumentNotFound and CollectionNotFound name what is not there."""
        if document_ids:
            await self._searcher.require_documents(tenant_id, document_ids)
        if collection_id is not None:
            await self._searcher.require_collection(tenant_id, collection_id)
        chunks = await self._searcher.search(
            tenant_id,
            question,
            vector,
            self._space,
            limit,
            document_ids=document_ids,
            collection_id=collection_id,
        )
        passages = tuple(map(_passage, chunks))
        searched = self._searcher.searched
        if not self._outdated.is_known(searched):
            self._outdated.note(searched, (await self.library(tenant_id, None, collection_id)).outdated > 0)
        if not self._outdated.has(searched):
            return Findings(passages)
        library = await self.library(tenant_id, document_ids, collection_id)
        return Findings(passages, outdated_notice(question, library.outdated))

    async def library(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId] | None, collection_id: CollectionId | None
    ) -> Library:
        """Return how many documents are ready, being processed, failed."""
        readiness = await self._searcher.check_readiness(
            tenant_id, document_ids=document_ids, collection_id=collection_id
        )
        return Library(readiness.ready, readiness.queued + readiness.processing, readiness.failed, readiness.outdated)

    async def deleted(self, document_ids: Sequence[DocumentId]) -> list[DocumentId]:
        """Return those documents that do not exist any more."""
        return await self._searcher.list_deleted(document_ids)

    async def hidden(
        self,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId],
        collections: Sequence[CollectionId] | None = None,
    ) -> list[DocumentId]:
        """Return those documents that the caller may not see, or that do not exist any more."""
        async with naming(self._connection, collections):
            return await self._searcher.list_unknown(tenant_id, document_ids)

    async def unknown_collections(
        self, tenant_id: TenantId, collection_ids: Sequence[CollectionId]
    ) -> list[CollectionId]:
        """Return those collections that the caller may not see, or that do not exist."""
        return await self._searcher.list_unknown_collections(tenant_id, collection_ids)

    async def names(
        self,
        tenant_id: TenantId,
        document_ids: Sequence[DocumentId],
        collections: Sequence[CollectionId] | None = None,
    ) -> dict[DocumentId, DocumentName]:
        """Return what those documents are called that the caller may see."""
        async with naming(self._connection, collections):
            names = await self._searcher.list_names(tenant_id, document_ids)
        return {document_id: (defuse(title), defuse(filename)) for document_id, title, filename in names}

    async def passages(self, tenant_id: TenantId, chunk_ids: Sequence[ChunkId]) -> list[Passage]:
        """Return the passages that still exist."""
        if not chunk_ids:
            return []
        return [_passage(chunk) for chunk in await self._searcher.list_chunks(tenant_id, chunk_ids)]

    async def openings(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> list[Passage]:
        """Return the first passage of each document."""
        return [_passage(chunk) for chunk in await self._searcher.list_openings(tenant_id, document_ids)]


class KnowledgeEmbedder:
    """Embeds questions; what a remote provider embeds is billed."""

    def __init__(self, embedder: Embedder, *, billable: bool) -> None:
        self._embedder = embedder
        self._tokens = TokenCounter.for_model(embedder.space.model) if billable else None
        self.billable = billable
        self.provider = embedder.space.provider
        self.model = embedder.space.model

    def count(self, text: str) -> int:
        """Return the tokens of a text, with what the model is sent before it."""
        return self._tokens.count(self._embedder.space.as_query(text)) if self._tokens is not None else 0

    async def embed(self, question: str) -> QuestionVector:
        """Return the question's vector."""
        batch = await self._embedder.embed([self._embedder.space.as_query(question)])
        return QuestionVector(batch.vectors[0], batch.tokens, batch.estimated)


class Vocabulary(Protocol):
    """Counts the tokens of a text."""

    @property
    def encoding_name(self) -> str:
        """The vocabulary's name."""
        ...

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        ...


class ModelCounter:
    """Counts in a vocabulary and remembers passages, which come again and again."""

    def __init__(self, counter: Vocabulary) -> None:
        self._counter = counter
        self._passages: dict[ChunkId, int] = {}
        # The instructions and the words around sources are the same in every prompt.
        self._short = lru_cache(maxsize=256)(counter.count)
        self._rules = lru_cache(maxsize=256)(counter.count)

    @property
    def name(self) -> str:
        """The tokenizer's name."""
        return self._counter.encoding_name

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return self._short(text) if len(text) < 2000 else self._counter.count(text)

    def count_rules(self, text: str) -> int:
        """Return the number of tokens of a system message."""
        return self._rules(text)

    def count_passage(self, passage: Passage) -> int:
        """Return the number of tokens of a passage's block; any number up to 999 is one token."""
        known = self._passages.get(passage.chunk_id)
        if known is None:
            if len(self._passages) >= REMEMBERED_PASSAGES:
                self._passages.clear()
            known = self._passages[passage.chunk_id] = self._counter.count(source_block(1, passage))
        return known


class Counters:
    """One counter for each tokenizer."""

    def __init__(self, own: Mapping[str, Vocabulary] | None = None) -> None:
        """`own`: models that have a vocabulary which is loaded anyway; the others' is tiktoken's, 46 MB each."""
        self._by_model = {model: ModelCounter(vocabulary) for model, vocabulary in (own or {}).items()}
        self._by_name: dict[str, ModelCounter] = {}

    def __call__(self, model: str) -> ModelCounter:
        """Return the model's counter."""
        counter = self._by_model.get(model)
        if counter is None:
            tokens = TokenCounter.for_model(model)
            counter = self._by_name.setdefault(tokens.encoding_name, ModelCounter(tokens))
            self._by_model[model] = counter
        return counter


def _passage(chunk: ScoredChunk) -> Passage:
    return Passage(
        chunk_id=chunk.chunk_id,
        document_id=chunk.document_id,
        title=defuse(chunk.title),
        filename=defuse(chunk.filename),
        page=chunk.page,
        page_to=chunk.page_to,
        text=chunk.text,
        score=chunk.score,
        vector_rank=chunk.vector_rank,
        text_rank=chunk.text_rank,
    )
