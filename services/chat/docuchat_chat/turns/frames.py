"""The frames of a streamed turn, as server-sent events; each is encoded once and shared by all who read it.

A frame's number is its place: 0 is the opening (`start` and `sources` together), 1 to n are deltas, n + 1 is `end` or
`error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from docuchat_chat.answers.domain import Citation, Source
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_chat.turns.domain import Outcome, Turn, TurnState

STOPPED = "stopped"
OPENING = 0


def opening_frame(turn: Turn) -> bytes:
    """Return `start` and `sources`."""
    start = {
        "type": "start",
        "turn_id": str(turn.id),
        "chat_id": str(turn.chat_id),
        "session_id": turn.session_id,
        "message_id": str(turn.message_id),
        "model": turn.model,
    }
    sources = {"type": "sources", "sources": [source_fields(source) for source in turn.sources]}
    return b"event: start\ndata: %b\n\nevent: sources\ndata: %b\n\n" % (orjson.dumps(start), orjson.dumps(sources))


def delta_frame(seq: int, text: str) -> bytes:
    """Return one delta; `text` is what arrived at once, which may be several of the provider's tokens."""
    return b'event: delta\nid: %d\ndata: {"type":"delta","seq":%d,"token":%b}\n\n' % (seq, seq, orjson.dumps(text))


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
        return _event(b"error", seq, fields)
    usage = outcome.usage
    return _event(
        b"end",
        seq,
        {
            "type": "end",
            "seq": seq,
            "message_id": str(turn.message_id),
            "finish_reason": outcome.finish_reason,
            "usage": {
                "input_tokens": usage.input_tokens if usage else 0,
                "output_tokens": usage.output_tokens if usage else 0,
                "total_tokens": usage.total_tokens if usage else 0,
                "estimated": usage.estimated if usage else False,
            },
            "citations": [citation_fields(citation) for citation in outcome.citations],
            "not_cited": list(outcome.not_cited),
        },
    )


def delta_frames(text: str, lengths: Sequence[int]) -> list[bytes]:
    """Return the delta frames in which a stored answer was sent; their lengths add up to the text's."""
    frames = []
    start = 0
    for seq, length in enumerate(lengths, 1):
        frames.append(delta_frame(seq, text[start : start + length]))
        start += length
    return frames


def delta_text(frame: bytes) -> str:
    """Return the text of a delta frame."""
    token: str = orjson.loads(frame[frame.index(b"data: ") + 6 :])["token"]
    return token


def source_fields(source: Source) -> dict[str, Any]:
    """Return a source as a client sees it: a reference, not the text."""
    passage = source.passage
    return {
        "number": source.number,
        "chunk_id": str(passage.chunk_id),
        "document_id": str(passage.document_id),
        "title": passage.title,
        "filename": passage.filename,
        "page": passage.page,
        "page_to": passage.page_to,
        "score": passage.score,
    }


def citation_fields(citation: Citation) -> dict[str, Any]:
    """Return a citation as it is sent and stored."""
    return {
        "number": citation.number,
        "chunk_id": str(citation.chunk_id),
        "document_id": str(citation.document_id),
        "title": citation.title,
        "filename": citation.filename,
        "page": citation.page,
        "page_to": citation.page_to,
        "quote": citation.quote,
        "score": citation.score,
    }


def _event(name: bytes, seq: int, fields: dict[str, Any]) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name, seq, orjson.dumps(fields))
