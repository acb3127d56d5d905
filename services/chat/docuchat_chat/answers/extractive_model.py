"""The answerer of the embedded default: quotes, with no language model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from docuchat_chat.answers.extractive import (
    Candidate,
    candidates,
    compose,
    is_answerable,
    is_refused,
    rank,
    shortlist,
)
from docuchat_chat.answers.notices import subject_refused
from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.answers.questions import understand
from docuchat_models.chat import Piece
from docuchat_models.embeddings import Embedder


class ExtractiveModel:
    """Picks the sentences that share rare words with the question and are near it in meaning."""

    has_own_knowledge = False

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream the quotes, one piece each."""
        yield Piece()
        setup = request.setup
        if is_refused(request.question, setup.policy.refused_subjects):
            yield Piece(subject_refused(setup, request.question), "stop")
            return
        chosen: list[Candidate] = []
        if is_answerable(request.question, request.sources):
            found = shortlist(request.question, candidates(request.sources, understand(request.question)))
            batch = await self._embedder.embed([request.question, *(candidate.sentence for candidate in found)])
            similarities = (batch.vectors[1:] @ batch.vectors[0]).tolist()
            chosen = rank(request.question, found, similarities)
        if not chosen and setup.nothing_found is not None:
            yield Piece(setup.nothing_found, "stop")
            return
        for text in compose(request.question, chosen, setup.language):
            yield Piece(text)
            # Let the frame go out: a streamed answer is one even when it is made at once.
            await asyncio.sleep(0)
        yield Piece(finish_reason="stop")
