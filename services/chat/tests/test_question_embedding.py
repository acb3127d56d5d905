"""Questions are embedded as the space of their model wants them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from docuchat_chat.adapters.knowledge import KnowledgeEmbedder
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.prefixes import Prefixes
from docuchat_models.spaces import EmbeddingSpace


class Embedder:
    """Notes what it is sent."""

    def __init__(self, prefixes: Prefixes) -> None:
        self.space = EmbeddingSpace("test", "e5", 2, prefixes)
        self.sent: list[str] = []

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        self.sent += texts
        return EmbeddingBatch(np.ones((len(texts), 2), np.float32), len(texts), estimated=False)


async def test_what_the_model_wants_before_a_question_is_sent_and_counted() -> None:
    bare = KnowledgeEmbedder(Embedder(Prefixes()), billable=True)
    embedder = Embedder(Prefixes("query: ", "passage: "))
    questions = KnowledgeEmbedder(embedder, billable=True)
    await questions.embed("When are salaries paid?")
    assert embedder.sent == ["query: When are salaries paid?"]
    assert questions.count("When are salaries paid?") > bare.count("When are salaries paid?")
