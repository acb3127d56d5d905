"""What a question finds in the files that were attached to it, and to earlier questions of its chat."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from docuchat_chat.answers.domain import Findings, Library
from docuchat_chat.answers.service import Retrieval
from docuchat_chat.attachments.errors import AttachmentNotFound
from docuchat_chat.turns.drafts import Draft, take
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnsTx
from docuchat_common.db.uow import Transactions
from docuchat_common.http.caller import Caller
from docuchat_common.ids import DocumentId

_LOOK_EVERY: Final = timedelta(milliseconds=200)


class Attached:
    """Searches in attachments, which nobody but their owner reads, and no other search."""

    def __init__(self, transactions: Transactions[TurnsTx], retrieval: Retrieval, policy: Policy) -> None:
        self._transactions = transactions
        self._retrieval = retrieval
        self._policy = policy

    async def look_up(self, draft: Draft) -> None:
        """Put what attachments say before what was found otherwise.

        Files of this question that are not read yet are waited for; what is not ready then is said instead of an
        answer that would rest on something else. Raises AttachmentNotFound.
        """
        caller, own = draft.caller, draft.question.attachments
        earlier = draft.chat.attachments if draft.chat is not None else ()
        if not own and not earlier:
            return
        reader = replace(caller, collections=(caller.maker_id or caller.subject_id,))
        wanted = list(dict.fromkeys([*own, *earlier]))
        async with self._transactions.as_caller(reader) as tx:
            gone = set(await tx.search.hidden(caller.tenant_id, wanted))
        if missing := [str(document_id) for document_id in own if document_id in gone]:
            raise AttachmentNotFound(f"There is no such attachment: {', '.join(missing)}.", attachments=missing)
        library = await self._wait(draft, reader, own) if own else Library(1, 0, 0)
        if library.processing or not library.ready:
            draft.findings, draft.unready = Findings(()), replace(library, ready=0)
            return
        there = [document_id for document_id in wanted if document_id not in gone]
        limit = draft.setup.top_k
        found = await self._retrieval.find(draft.searched, draft.vector, reader, limit, there, None)
        draft.findings = together(found, draft.findings, limit)

    async def _wait(self, draft: Draft, reader: Caller, document_ids: Sequence[DocumentId]) -> Library:
        patience = self._policy.head_patience
        draft.slot.give_up()  # nobody else waits for it
        while True:
            async with self._transactions.as_caller(reader) as tx:
                library = await tx.search.library(reader.tenant_id, document_ids, None)
            if not library.processing or patience <= timedelta():
                await take(draft.slot, self._policy.preparation_patience)
                return library
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
            patience -= _LOOK_EVERY


def together(attached: Findings, others: Findings, limit: int) -> Findings:
    """Return the passages of attachments before the others, `limit` in all, of which each has its share."""
    room = limit - min(len(others.passages), limit // 3)
    first = attached.passages[:room]
    rest = others.passages[: limit - len(first)]
    notices = [notice for notice in (attached.notice, others.notice) if notice]
    return Findings((*first, *rest), " ".join(notices) or None)
