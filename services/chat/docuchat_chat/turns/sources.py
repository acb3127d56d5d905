"""What a question finds in the documents."""

from __future__ import annotations

from docuchat_chat.answers.service import Retrieval
from docuchat_chat.turns.drafts import Draft, take
from docuchat_chat.turns.policy import Policy


class Sources:
    """Searches for what a question is answered from."""

    def __init__(self, retrieval: Retrieval, policy: Policy) -> None:
        self._retrieval = retrieval
        self._policy = policy

    @property
    def is_free(self) -> bool:
        """Whether a search costs nobody anything."""
        return self._retrieval.is_free

    def cost(self, draft: Draft) -> int:
        """Return the tokens that searching will cost."""
        return self._retrieval.count(draft.searched)

    async def look_up(self, draft: Draft) -> None:
        """Find passages for a question."""
        question = draft.question
        if not self._retrieval.is_free:
            draft.slot.give_up()  # a provider that is slow keeps nobody else from asking
        draft.vector = await self._retrieval.embed_or_not(draft.searched, draft.books)
        await take(draft.slot, self._policy.preparation_patience)
        draft.findings = await self._retrieval.find(
            draft.searched, draft.vector, draft.caller, draft.setup.top_k, question.document_ids, question.collection_id
        )
