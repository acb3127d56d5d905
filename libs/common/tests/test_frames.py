from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from docuchat_common.contracts.frames import (
    CLIENT_MESSAGE,
    SERVER_FRAME,
    AskMessage,
    DeltaFrame,
    EventReader,
    ResumeMessage,
    StopMessage,
    error_frame,
    frame_schemas,
    with_message_id,
    write_event,
    write_frame,
)
from docuchat_common.errors import NotFound

TURN = uuid4()


def test_a_client_says_one_of_three_things() -> None:
    document = str(uuid4())
    asked = CLIENT_MESSAGE.validate_python({"id": "7", "message": "Why?", "session_id": 3, "document_ids": [document]})
    assert isinstance(asked, AskMessage) and asked.session_id == "3" and asked.documents is not None
    assert isinstance(CLIENT_MESSAGE.validate_python({"resume": str(TURN), "after": 4}), ResumeMessage)
    assert isinstance(CLIENT_MESSAGE.validate_python({"stop": str(TURN)}), StopMessage)


@pytest.mark.parametrize(
    "message",
    [
        {"message": "x", "documents": ["x"]},
        {"message": "x", "docs": []},
        {"message": "x", "session_id": True},
        {"resume": "x"},
        {"resume": str(TURN), "after": -1},
        {"resume": str(TURN), "after": True},
        {"stop": str(TURN), "message": "x"},
        {},
    ],
)
def test_anything_else_is_refused(message: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CLIENT_MESSAGE.validate_json(orjson.dumps(message))


def test_who_names_no_document_is_told_that_none_is_not_all() -> None:
    with pytest.raises(ValidationError, match="Name at least one document, or leave the field out"):
        AskMessage.model_validate({"message": "x", "documents": []})
    with pytest.raises(ValidationError, match="at most 100"):
        AskMessage.model_validate({"message": "x", "documents": [str(TURN)] * 101})


@given(st.lists(st.tuples(st.sampled_from([b"delta", b"end"]), st.text(max_size=20))), st.integers(1, 30))
def test_events_are_read_however_they_are_cut(events: list[tuple[bytes, str]], size: int) -> None:
    data = [(name, orjson.dumps({"token": text})) for name, text in events]
    stream = b": ping\n\n" + b"".join(write_event(name, body, i) for i, (name, body) in enumerate(data))
    reader = EventReader()
    read = [event for i in range(0, len(stream), size) for event in reader.feed(stream[i : i + size])]
    assert read == data


def test_the_clients_id_is_put_in_front_without_parsing() -> None:
    frame = with_message_id(orjson.dumps({"type": "delta", "turn_id": str(TURN), "seq": 1, "token": "a"}), 'x"1')
    assert SERVER_FRAME.validate_json(frame).id == 'x"1'


def test_a_frame_says_what_was_given_and_nothing_else() -> None:
    data = f'{{"type":"delta","turn_id":"{TURN}","seq":3,"token":"سلام ✓"}}'
    delta = DeltaFrame(type="delta", turn_id=TURN, seq=3, token="سلام ✓")
    assert write_frame(delta, 3) == f"event: delta\nid: 3\ndata: {data}\n\n".encode()
    refused = NotFound("There is no such turn.", turn_id=TURN, looked_at=datetime(2026, 1, 2, tzinfo=UTC))
    refused.retry_after = timedelta(milliseconds=300)
    told = orjson.loads(write_frame(error_frame(refused, turn_id=TURN)).split(b"data: ")[1])
    assert told == {
        "type": "error",
        "code": "not_found",
        "message": "There is no such turn.",
        "turn_id": str(TURN),
        "retry_after": 1,
        "looked_at": "2026-01-02T00:00:00Z",
    }


def test_the_schemas_are_for_openapi() -> None:
    assert set(frame_schemas()) == {"ClientMessage", "ServerFrame"}
