"""What titles need from the world."""

from __future__ import annotations

from typing import Protocol

from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatId


class TitleStore(Protocol):
    """Titles of one tenant's chats."""

    async def claim(self, caller: Caller, chat_id: ChatId) -> str | None:
        """Note that a model is about to be asked for a title; the title until then.

        None when one was asked before, or the title is the user's, or there is no such chat.
        """
        ...

    async def put(self, caller: Caller, chat_id: ChatId, title: str, before: str) -> bool:
        """Give a chat the model's title; False when it is another than `before` by now."""
        ...


class TitlesTx(Protocol):
    """What of a transaction titles use."""

    @property
    def titles(self) -> TitleStore:
        """Titles."""
        ...
