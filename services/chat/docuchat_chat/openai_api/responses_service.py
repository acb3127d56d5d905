"""Responses as they are kept: read, listened to again, cancelled, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from docuchat_chat.conversations.domain import Message
from docuchat_chat.conversations.service import ConversationService
from docuchat_chat.openai_api.responses import Given, ResponseId, parse_response_id
from docuchat_chat.openai_api.responses_errors import ResponseContinued, ResponseNotFound
from docuchat_chat.openai_api.responses_events import ResponseEvents
from docuchat_chat.openai_api.responses_views import ResponseView
from docuchat_chat.turns.answering import Followed, StoredTurn
from docuchat_chat.turns.domain import Turn
from docuchat_chat.turns.errors import TurnNotFound
from docuchat_chat.turns.ports import TurnsTx
from docuchat_chat.turns.replay import ReplayService
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller

_STOPPING: Final = timedelta(seconds=5)
"""How long whoever cancels waits for the end."""
_LONE: Final = 2
"""Messages of a chat with one answer."""


class Responses:
    """What is done with responses beside asking for them."""

    def __init__(
        self, transactions: Transactions[TurnsTx], replay: ReplayService, conversations: ConversationService
    ) -> None:
        self._transactions = transactions
        self._replay = replay
        self._conversations = conversations

    async def get(self, caller: Caller, name: str) -> ResponseView:
        """Return a response as it stands. Raises ResponseNotFound."""
        found = await self._find(caller, name)
        if isinstance(found, StoredTurn):
            return await view_of(found)
        return ResponseView.begun(found, Given.of_fields(found.given))

    async def events(self, caller: Caller, name: str, after: int) -> AsyncIterator[bytes]:
        """Return the events of a response behind this number: no gap, no repeat, no second call of the model."""
        answering = await self._answering(caller, name)
        return ResponseEvents(Given.of_fields(answering.turn.given), after).following(answering)

    async def cancel(self, caller: Caller, name: str) -> ResponseView:
        """Stop a response that is being written, and return it as it ended. Raises ResponseNotFound."""
        answering = await self._answering(caller, name)
        turn = answering.turn
        await self._replay.stop(caller, turn.id)
        try:
            async with asyncio.timeout(_STOPPING.total_seconds()):
                return await view_of(answering)
        except TimeoutError:
            return ResponseView.begun(turn, Given.of_fields(turn.given))

    async def delete(self, caller: Caller, name: str) -> None:
        """Delete a response with its chat, of which it is the one answer.

        Raises ResponseNotFound, ResponseContinued.
        """
        turn = _turn_of(await self._find(caller, name))
        async with self._transactions.as_caller(caller) as tx:
            chat = await tx.chats.find(caller, chat_id=turn.chat_id)
        if chat is None:
            raise ResponseNotFound
        if chat.message_count > _LONE:
            raise ResponseContinued(chat_id=str(chat.id))
        await self._conversations.delete(caller, chat.id)

    async def question(self, caller: Caller, name: str) -> Message:
        """Return the question that a response answers. Raises ResponseNotFound."""
        turn = _turn_of(await self._find(caller, name))
        async with self._transactions.as_caller(caller) as tx:
            message = await tx.chats.find_message(caller, turn.user_message_id)
        if message is None:
            raise ResponseNotFound
        return message

    async def _find(self, caller: Caller, name: str) -> StoredTurn | Turn:
        wanted = _wanted(name)
        try:
            found = await self._replay.find(caller, wanted.turn_id)
        except TurnNotFound as error:
            raise ResponseNotFound from error
        _check(_turn_of(found), wanted)
        return found

    async def _answering(self, caller: Caller, name: str) -> Followed:
        wanted = _wanted(name)
        try:
            answering = await self._replay.answering(caller, wanted.turn_id)
        except TurnNotFound as error:
            raise ResponseNotFound from error
        _check(answering.turn, wanted)
        return answering


async def view_of(answering: Followed) -> ResponseView:
    """Wait for the end of a turn, and return it as a response, however it ended."""
    turn, pieces = answering.turn, list[str]()
    given = Given.of_fields(turn.given)
    try:
        async for texts in answering.texts():
            pieces += texts
        answer = await answering.result()
    except DocuChatError as error:
        return ResponseView.failed(turn, "".join(pieces), error, given)
    return ResponseView.of(answer, given)


def _wanted(name: str) -> ResponseId:
    wanted = parse_response_id(name)
    if wanted is None:
        raise ResponseNotFound
    return wanted


def _turn_of(found: StoredTurn | Turn) -> Turn:
    return found.turn if isinstance(found, StoredTurn) else found


def _check(turn: Turn, wanted: ResponseId) -> None:
    if turn.message_id != wanted.message_id or not Given.of_fields(turn.given).store:
        raise ResponseNotFound
