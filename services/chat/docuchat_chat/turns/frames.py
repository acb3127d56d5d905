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
from docuchat_chat.turns.domain import Outcome, Turn, TurnState, fallback_fields
from docuchat_common.contracts.frames import (
    CitationReference,
    EndFrame,
    ErrorFrame,
    FallbackReference,
    SourceReference,
    SourcesFrame,
    StartFrame,
    TurnUsage,
    error_frame,
    write_frame,
)
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import TurnId


def opening_frame(turn: Turn) -> bytes:
    """Return `start` and `sources`."""
    of_chatbot: dict[str, Any] = {}
    if turn.chatbot_id is not None:
        of_chatbot = {"chatbot_id": turn.chatbot_id, "chatbot_version": turn.chatbot_version}
    start = StartFrame(
        type="start",
        turn_id=turn.id,
        chat_id=turn.chat_id,
        session_id=turn.session_id,
        user_message_id=turn.user_message_id,
        message_id=turn.message_id,
        model=turn.asked_model,
        **of_chatbot,
    )
    noticed = {} if turn.notice is None else {"notice": turn.notice}
    references = [SourceReference(**source_fields(source)) for source in turn.sources]
    sources = SourcesFrame(type="sources", turn_id=turn.id, sources=references, **noticed)
    return write_frame(start) + write_frame(sources)


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
    more: dict[str, Any] = {}
    if outcome.state in (TurnState.INTERRUPTED, TurnState.FAILED):
        assert outcome.error_code is not None  # what failed has a reason
        assert outcome.error_message is not None
        if outcome.retry_after_seconds is not None:
            more["retry_after"] = outcome.retry_after_seconds
        error = ErrorFrame(
            type="error",
            seq=seq,
            code=outcome.error_code,
            message=outcome.error_message,
            turn_id=turn.id,
            message_id=turn.message_id,
            status="interrupted" if outcome.state is TurnState.INTERRUPTED else "failed",
            **more,
        )
        return write_frame(error, seq)
    if outcome.own_knowledge:
        more["own_knowledge"] = list(outcome.own_knowledge)
    if turn.searched_as is not None:
        more["searched_as"] = turn.searched_as
    assert outcome.finish_reason != "error"  # that is the state of what failed
    if turn.fallback is not None:
        more["fallback"] = FallbackReference.model_validate(fallback_fields(turn.fallback))
    usage = outcome.usage
    end = EndFrame(
        type="end",
        turn_id=turn.id,
        seq=seq,
        message_id=turn.message_id,
        finish_reason=outcome.finish_reason,
        model=turn.model,
        usage=TurnUsage(
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            total_tokens=usage.input_tokens + usage.output_tokens if usage else 0,
            estimated=usage.estimated if usage else False,
        ),
        citations=[CitationReference(**citation_fields(citation)) for citation in outcome.citations],
        not_cited=list(outcome.not_cited),
        **more,
    )
    return write_frame(end, seq)


def refusal_frame(turn_id: UUID, error: DocuChatError) -> bytes:
    """Return the `error` of a stream whose head was sent and whose turn never began, or is gone."""
    return write_frame(error_frame(error, turn_id=turn_id, seq=1))


def delta_frames(turn_id: TurnId, text: str, lengths: Sequence[int]) -> list[bytes]:
    """Return the delta frames in which a stored answer was sent; their lengths add up to the text's."""
    frames = []
    start = 0
    for seq, length in enumerate(lengths, 1):
        frames.append(delta_frame(turn_id, seq, text[start : start + length]))
        start += length
    return frames
