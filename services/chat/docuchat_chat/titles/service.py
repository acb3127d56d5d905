"""Titles by the model: asked for once a chat, beside its first answer, held and booked like any other call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from docuchat_chat.answers.completions import complete
from docuchat_chat.answers.ports import AnswerRequest, CounterFor, EmbeddingHolds, ServedModel
from docuchat_chat.answers.prompt import count_prompt
from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.terms import payers, terms_of
from docuchat_chat.titles.ports import TitlesTx
from docuchat_chat.titles.prompt import MOST_TOKENS, messages_for, title_in
from docuchat_common.background import cancel
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId
from docuchat_common.metering import Metering, OpenCall, ProviderCall, call_id_of

logger = structlog.get_logger()

_AT_ONCE: Final = 20
"""Titles that are asked for at once; a chat that comes while there are so many keeps the one it has."""
_PATIENCE: Final = timedelta(seconds=30)
_SUBJECTS: Final = frozenset({"user", "key"})
"""Whose chats are shown in lists; what visitors and programs of chatbots ask needs no title that costs tokens."""


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What a chat is called by."""

    caller: Caller
    chat_id: ChatId
    setup: Setup
    served: ServedModel
    """The model that gave the answer; it is asked for the title, too."""
    question: str
    answer: str


class Titles:
    """Asks for titles in the background; a chat for which that fails keeps the beginning of its question."""

    def __init__(
        self,
        *,
        transactions: Transactions[TitlesTx],
        holds: EmbeddingHolds,
        metering: Metering,
        counter_for: CounterFor,
        owner: str,
        on_titled: Callable[[Caller, ChatId], None],
    ) -> None:
        """`on_titled` is told of each chat that has another title."""
        self._transactions = transactions
        self._holds = holds
        self._metering = metering
        self._counter_for = counter_for
        self._owner = owner
        self._on_titled = on_titled
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, first: FirstAnswer) -> None:
        """Begin to give a chat its title."""
        if first.caller.subject_type not in _SUBJECTS or len(self._tasks) >= _AT_ONCE:
            return
        task = asyncio.create_task(self._give(first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is being asked for; it is booked as it was expected."""
        await asyncio.gather(*map(cancel, list(self._tasks)))

    async def _give(self, first: FirstAnswer) -> None:
        caller, chat_id = first.caller, first.chat_id
        try:
            async with self._transactions(caller.tenant_id) as tx:
                before = await tx.titles.claim(caller, chat_id)
            if before is None:
                return
            title = await self._ask(first)
            if title is None:
                return
            async with self._transactions(caller.tenant_id) as tx:
                is_titled = await tx.titles.put(caller, chat_id, title, before)
            if is_titled:
                self._on_titled(caller, chat_id)
        except DocuChatError as error:
            logger.info("chat.not_titled", chat_id=str(chat_id), reason=error.code)
        except TimeoutError:
            logger.info("chat.not_titled", chat_id=str(chat_id), reason="provider_timeout")
        except Exception:
            logger.exception("chat.not_titled", chat_id=str(chat_id))

    async def _ask(self, first: FirstAnswer) -> str | None:
        """Return what the model calls the chat. Raises DocuChatError, TimeoutError."""
        caller, served = first.caller, first.served
        messages = messages_for(first.question, first.answer)
        counter = self._counter_for(served.model)
        tokens = count_prompt(messages, counter)
        hold = await self._holds.open(caller, served, tokens, MOST_TOKENS, terms_of(first.setup.chatbot_id))
        call = ProviderCall(
            id=call_id_of(first.chat_id, "title"),
            tenant_id=caller.tenant_id,
            kind="chat",
            provider=served.provider,
            model=served.model,
            expected_input_tokens=tokens,
            expected_output_tokens=MOST_TOKENS,
            owner=self._owner,
            subjects=payers(caller, first.setup.chatbot_id),
            hold_id=hold.id,
            chat_id=first.chat_id,
        )
        made: OpenCall | None = None
        try:
            async with self._metering.call(call) as made:
                request = AnswerRequest(
                    model=served.model,
                    setup=replace(first.setup, temperature=None),
                    messages=messages,
                    sources=(),
                    question=first.question,
                    max_output_tokens=MOST_TOKENS,
                    tenant_id=caller.tenant_id,
                )
                return title_in(await complete(served.answers, request, made, counter, _PATIENCE))
        finally:
            if made is None or made.outcome is None:
                await self._holds.release(hold.id)  # else what is booked settles it
