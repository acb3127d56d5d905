"""Search: what a question would be answered from."""

from __future__ import annotations

from docuchat_chat.answers.domain import Asker, Passage
from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.ports import AnswersTx, QuestionEmbedder, QuestionVector, Transactions
from docuchat_common.events.catalogue import UsageRecorded
from docuchat_common.ids import ChatId, DocumentId, TurnId


class SearchService:
    """Shows the passages that hybrid search finds."""

    def __init__(self, transactions: Transactions[AnswersTx], embedder: QuestionEmbedder) -> None:
        self._transactions = transactions
        self._embedder = embedder

    async def search(
        self, asker: Asker, query: str, limit: int, document_ids: tuple[DocumentId, ...] | None
    ) -> list[Passage]:
        """Return what a question would be answered from."""
        text = query.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        vector = await self._embedder.embed(text)
        async with self._transactions(asker.tenant_id) as tx:
            if vector.billable:
                tx.outbox.add(embedding_usage(asker, vector))
            return await tx.search.search(asker.tenant_id, text, vector, limit, document_ids, None)


def embedding_usage(
    asker: Asker, vector: QuestionVector, chat_id: ChatId | None = None, turn_id: TurnId | None = None
) -> UsageRecorded:
    """Return the event that books a question's embedding."""
    return UsageRecorded(
        tenant_id=asker.tenant_id,
        kind="embedding",
        provider=vector.provider,
        model=vector.model,
        input_tokens=vector.tokens,
        output_tokens=0,
        estimated=vector.estimated,
        user_id=asker.user_id,
        chat_id=chat_id,
        turn_id=turn_id,
    )
