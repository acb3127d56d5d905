"""The frames of a turn as server-sent events; each is encoded once and shared by all who read it.

A frame's number is its place: 0 is the opening (`start` and `sources` together), 1 to n are deltas, n + 1 is `end` or
`error`. Their shape is `docuchat_common.contracts.frames`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from docuchat_chat.answers.snapshots import citation_fields, source_fields
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_chat.turns.domain import Outcome, Turn, TurnState
from docuchat_common.contracts.frames import write_event
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TurnId


def opening_frame(turn: Turn) -> bytes:
    """Return `start` and `sources`."""
    start: dict[str, Any] = {
        "type": "start",
        "turn_id": str(turn.id),
        "chat_id": str(turn.chat_id),
        "session_id": turn.session_id,
        "user_message_id": str(turn.user_message_id),
        "message_id": str(turn.message_id),
        "model": turn.model,
    }
    if turn.chatbot_id is not None:
        start |= {"chatbot_id": str(turn.chatbot_id), "chatbot_version": turn.chatbot_version}
    sources: dict[str, Any] = {
        "type": "sources",
        "turn_id": str(turn.id),
        "sources": [source_fields(source) for source in turn.sources],
    }
    if turn.notice is not None:
        sources["notice"] = turn.notice
    return write_event(b"start", orjson.dumps(start)) + write_event(b"sources", orjson.dumps(sources))


def delta_frame(turn_id: TurnId, seq: int, text: str) -> bytes:
    """Return one delta; `text` is what arrived at once, which may be several of the provider's tokens."""
    return b'event: delta\nid: %d\ndata: {"type":"delta","turn_id":"%b","seq":%d,"token":%b}\n\n' % (
        seq,
        str(turn_id).encode(),
        seq,
        orjson.dumps(text),
    )


def terminal_frame(seq: int, turn: Turn, outcome: Outcome) -> bytes:
    """Return `end`, or `error` for a turn that the provider or a crash ended."""
    if outcome.state in (TurnState.INTERRUPTED, TurnState.FAILED):
        fields: dict[str, Any] = {
            "type": "error",
            "seq": seq,
            "code": outcome.error_code,
            "message": outcome.error_message,
            "turn_id": str(turn.id),
            "message_id": str(turn.message_id),
            "status": MessageStatus.INTERRUPTED if outcome.state is TurnState.INTERRUPTED else MessageStatus.FAILED,
        }
        if outcome.retry_after_seconds is not None:
            fields["retry_after"] = outcome.retry_after_seconds
        return write_event(b"error", orjson.dumps(fields), seq)
    usage = outcome.usage
    fields = {
        "type": "end",
        "turn_id": str(turn.id),
        "seq": seq,
        "message_id": str(turn.message_id),
        "finish_reason": outcome.finish_reason,
        "usage": {
            "input_tokens": usage.input_tokens if usage else 0,
            "output_tokens": usage.output_tokens if usage else 0,
            "total_tokens": usage.input_tokens + usage.output_tokens if usage else 0,
            "estimated": usage.estimated if usage else False,
        },
        "citations": [citation_fields(citation) for citation in outcome.citations],
        "not_cited": list(outcome.not_cited),
    }
    if outcome.own_knowledge:
        fields["own_knowledge"] = list(outcome.own_knowledge)
    if turn.searched_as is not None:
        fields["searched_as"] = turn.searched_as
    return write_event(b"end", orjson.dumps(fields), seq)


def refusal_frame(turn_id: UUID, error: DocuChatError) -> bytes:
    """Return the `error` of a stream whose head was sent and whose turn never began, or is gone."""
    fields: dict[str, Any] = {"type": "error", "code": error.code, "message": error.detail, "turn_id": str(turn_id)}
    if error.retry_after is not None:
        fields["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    fields |= {key: value for key, value in error.extensions.items() if key not in fields}
    return write_event(b"error", orjson.dumps({**fields, "seq": 1}, default=str))


def delta_frames(turn_id: TurnId, text: str, lengths: Sequence[int]) -> list[bytes]:
    """Return the delta frames in which a stored answer was sent; their lengths add up to the text's."""
    frames = []
    start = 0
    for seq, length in enumerate(lengths, 1):
        frames.append(delta_frame(turn_id, seq, text[start : start + length]))
        start += length
    return frames
