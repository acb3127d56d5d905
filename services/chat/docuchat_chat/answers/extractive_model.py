"""The answerer of the embedded default: quotes, with no language model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from docuchat_chat.answers.extractive import PROVIDER, Candidate, candidates, compose, is_answerable, rank, shortlist
from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.answers.questions import understand
from docuchat_models.chat import Piece
from docuchat_models.embeddings import Embedder


class ExtractiveModel:
    """Picks the sentences that share rare words with the question and are near it in meaning."""

    provider = PROVIDER

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream the quotes, one piece each."""
        yield Piece()
        chosen: list[Candidate] = []
        if is_answerable(request.question, request.sources):
            found = shortlist(request.question, candidates(request.sources, understand(request.question)))
            batch = await self._embedder.embed([request.question, *(candidate.sentence for candidate in found)])
            similarities = (batch.vectors[1:] @ batch.vectors[0]).tolist()
            chosen = rank(request.question, found, similarities)
        for text in compose(request.question, chosen):
            yield Piece(text)
            # Let the frame go out: a streamed answer is one even when it is made at once.
            await asyncio.sleep(0)
        yield Piece(finish_reason="stop")
