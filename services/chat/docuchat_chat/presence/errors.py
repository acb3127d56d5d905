"""Errors of sessions of chats."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class ChatSessionNotFound(NotFound):
    """There is no such session of this chat, or it has ended; open another."""

    code = "chat_session_not_found"


class TooManyChatSessions(Conflict):
    """This chat is open in as many places as it may be; close one."""

    code = "too_many_chat_sessions"
