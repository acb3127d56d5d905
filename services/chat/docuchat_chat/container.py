"""What the composition root yields, as routes see it: use cases and limits, no adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from docuchat_chat.service.asking import AskService
from docuchat_chat.service.conversations import ConversationService
from docuchat_chat.service.replay import ReplayService
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier


@dataclass(frozen=True, slots=True)
class Container:
    """The use cases of a running service."""

    settings: Any
    verifier: TokenVerifier
    asking: AskService
    replay: ReplayService
    conversations: ConversationService
    client_stall: timedelta
    max_message_chars: int
    checks: Mapping[str, Check]
