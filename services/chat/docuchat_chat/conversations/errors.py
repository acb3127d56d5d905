"""Errors of chats and messages."""

from __future__ import annotations

from docuchat_common.errors import InvalidInput, NotFound


class ChatNotFound(NotFound):
    """There is no such chat."""

    code = "chat_not_found"


class MessageTooLong(InvalidInput):
    """The message is too long."""

    code = "message_too_long"
