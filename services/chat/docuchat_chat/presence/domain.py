"""Sessions of chats: a window or a device in which a chat is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from docuchat_common.ids import ChatId

SILENCE: Final = timedelta(minutes=2)
"""A session that shows no sign of life for so long has ended."""
MOST_SESSIONS: Final = 50
"""Of one chat at once."""


@dataclass(frozen=True, slots=True)
class ChatSession:
    """A session that has not ended."""

    id: UUID
    chat_id: ChatId
    subject_id: UUID
    last_activity: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new session with its token, which nobody is told again."""

    session: ChatSession
    token: str
