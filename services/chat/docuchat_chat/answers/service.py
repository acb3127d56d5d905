"""Search: what a question is answered from, and what embedding it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from docuchat_chat.answers.domain import Findings, Passage
from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.outages import Silences
from docuchat_chat.answers.ports import AnswersTx, EmbeddingHolds, Priced, QuestionEmbedder
from docuchat_chat.answers.questions import asks_about_document
from docuchat_chat.answers.terms import payers
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import CollectionId, DocumentId, HoldId, uuid7
from docuchat_common.metering import Metering, ProviderCall, TokenBounds, Used, bounded, call_id_of, used_of
from docuchat_models.errors import ProviderError, ProviderFailed, ProviderRefused, billed

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Books:
    """Under which names the embedding of a question is booked."""

    caller: Caller
    turn_id: UUID | None = None
    hold_id: UUID | None = None
    chatbot_id: UUID | None = None
    """The chatbot that is asked."""


class Retrieval:
    """Embeds questions, each call declared and settled, and searches."""

    def __init__(
        self,
        transactions: Transactions[AnswersTx],
        embedder: QuestionEmbedder,
        metering: Metering,
        owner: str,
    ) -> None:
        self._transactions = transactions
        self._embedder = embedder
        self._metering = metering
        self._owner = owner
        self._silences = Silences()

    @property
    def is_free(self) -> bool:
        """Whether no provider is asked, and paid."""
        return not self._embedder.billable

    def count(self, text: str) -> int:
        """Return the tokens that embedding a text will cost; 0 when it costs nothing."""
        return 0 if self.is_free else self._embedder.count(text)

    async def embed(self, text: str, books: Books) -> Any:
        """Return the vector of a question. Raises RateLimited or UpstreamUnavailable."""
        if self.is_free:
            return (await self._embedder.embed(text)).vector
        if not self._silences.admits():
            raise ProviderFailed("The embedding provider does not answer, and is not asked for a moment.")
        counted = self._embedder.count(text)
        call = ProviderCall(
            id=call_id_of(books.turn_id or uuid7(), "question"),
            tenant_id=books.caller.tenant_id,
            kind="embedding",
            provider=self._embedder.provider,
            model=self._embedder.model,
            expected_input_tokens=counted,
            owner=self._owner,
            subjects=payers(books.caller, books.chatbot_id),
            hold_id=books.hold_id,
            turn_id=books.turn_id,
        )
        async with self._metering.call(call) as made:
            try:
                vector = await self._embedder.embed(text)
            except DocuChatError as error:
                self._silences.note(is_silent=_is_silent(error))
                made.outcome = billed(error, counted)
                raise
            self._silences.note(is_silent=False)
            if vector.estimated:
                made.used(Used(vector.tokens, estimated=True))
            else:
                made.used(used_of(bounded(vector.tokens, counted, TokenBounds(), "input_tokens")))
        return vector.vector

    async def find(
        self,
        text: str,
        vector: Any,
        caller: Caller,
        limit: int,
        document_ids: Sequence[DocumentId] | None,
        collection_id: CollectionId | None,
    ) -> Findings:
        """Search in a transaction of its own; without a vector by words alone.

        What a document as a whole is about stands at its beginning: a question for that finds the beginnings first.
        """
        async with self._transactions.as_caller(caller) as tx:
            found = await tx.search.search(caller.tenant_id, text, vector, limit, document_ids, collection_id)
            if not asks_about_document(text):
                return found
            documents = list(dict.fromkeys(passage.document_id for passage in found.passages))
            return begin_with(await tx.search.openings(caller.tenant_id, documents), found, limit)

    async def embed_or_not(self, text: str, books: Books) -> Any:
        """As `embed`; None when that fails: words alone still find, and an answer is better than none."""
        try:
            return await self.embed(text, books)
        except DocuChatError as error:
            logger.warning("question.not_embedded", reason=error.code)
            return None


def _is_silent(error: DocuChatError) -> bool:
    """Tell whether a provider gave no answer; one that refuses does."""
    return isinstance(error, UpstreamUnavailable) and not isinstance(error, ProviderRefused)


@asynccontextmanager
async def released_unless_billed(holds: EmbeddingHolds, hold_id: HoldId) -> AsyncIterator[None]:
    """Release a hold when what it was opened for fails; where a provider bills, what is booked settles it."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, ProviderError) or billed(error, 0) is None:
            await holds.release(hold_id)
        raise


def begin_with(openings: Sequence[Passage], found: Findings, limit: int) -> Findings:
    """Put the beginnings of documents before what was found, each passage once, `limit` in all."""
    scores = {passage.chunk_id: passage for passage in found.passages}
    first = {opening.chunk_id: scores.get(opening.chunk_id, opening) for opening in openings}
    return replace(found, passages=tuple({**first, **scores}.values())[:limit])


class SearchService:
    """Shows the passages that hybrid search finds."""

    def __init__(self, retrieval: Retrieval, holds: EmbeddingHolds, space: Priced) -> None:
        self._retrieval = retrieval
        self._holds = holds
        self._space = space

    async def search(
        self,
        caller: Caller,
        query: str,
        limit: int,
        document_ids: tuple[DocumentId, ...] | None,
        collection_id: CollectionId | None = None,
    ) -> Findings:
        """Return what a question would be answered from. Raises QuotaExceeded."""
        text = query.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        if self._retrieval.is_free:
            vector = await self._retrieval.embed(text, Books(caller))
        else:
            vector = await self._embed_held(text, caller)
        return await self._retrieval.find(text, vector, caller, limit, document_ids, collection_id)

    async def _embed_held(self, text: str, caller: Caller) -> Any:
        hold = await self._holds.open(caller, self._space, self._retrieval.count(text), 0)
        async with released_unless_billed(self._holds, hold.id):
            return await self._retrieval.embed(text, Books(caller, hold_id=hold.id))
