from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from docuchat_models.chat import TokenUsage
from docuchat_models.stream_parser import StreamParser


def frame(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps(fields) + b"\n\n"


def chunk(content: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": None, **fields}
    return frame(choices=[choice], usage=None)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=20), st.integers(min_value=1, max_value=40))
def test_a_stream_is_the_same_however_it_is_cut(texts: list[str], size: int) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\r\n\r\n'
    stream = b": hello\n\n" + b"".join(map(chunk, texts)) + chunk(finish_reason="stop") + usage + b"data: [DONE]\n\n"
    parser = StreamParser()
    pieces = [p for i in range(0, len(stream), size) if (p := parser.feed(stream[i : i + size])) is not None]
    assert "".join(piece.text for piece in pieces) == "".join(texts).replace("\x00", "")
    assert [p.finish_reason for p in pieces if p.finish_reason] == ["stop"]
    assert [p.usage.total_tokens for p in pieces if p.usage] == [12]
    assert parser.done and parser.ended and parser.failure is None


def test_what_came_before_a_broken_frame_is_kept() -> None:
    parser = StreamParser()
    piece = parser.feed(chunk("kept") + b"data: {broken\n\n" + chunk("lost"))
    assert piece is not None and piece.text == "kept" and parser.failure is not None


def test_half_a_surrogate_pair_does_not_end_the_answer() -> None:
    parser = StreamParser()
    piece = parser.feed(b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n')
    assert piece is not None and piece.text == "a\ufffd" and parser.failure is None


ODD_USAGE = [
    ("usage", "many"),
    ("usage", [1, 2]),
    ("usage.prompt_tokens", {"prompt_tokens": None, "completion_tokens": 3}),
    ("usage.prompt_tokens", {"prompt_tokens": "5", "completion_tokens": 3}),
    ("usage.completion_tokens", {"prompt_tokens": 5}),
    ("usage.completion_tokens", {"prompt_tokens": 5, "completion_tokens": -1}),
    ("usage.completion_tokens", {"prompt_tokens": 5, "completion_tokens": 10**30}),
    ("usage.completion_tokens", {"prompt_tokens": 5, "completion_tokens": 2.5}),
]


@pytest.mark.parametrize(("part", "usage"), ODD_USAGE)
def test_an_odd_usage_is_dropped_by_name_and_the_answer_stays(part: str, usage: object) -> None:
    parser = StreamParser()
    with structlog.testing.capture_logs() as logs:
        usual = orjson.dumps({"choices": [{"delta": {"content": "kept"}, "finish_reason": "stop"}]})
        odd = b"data: " + usual[:-1] + b',"usage":' + str_json(usage) + b"}\n\n"
        piece = parser.feed(odd)
    assert piece is not None
    assert (piece.text, piece.finish_reason, piece.usage) == ("kept", "stop", None)
    assert parser.failure is None
    assert [entry["part"] for entry in logs] == [part]


def str_json(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("part", "odd"),
    [
        ("finish_reason", frame(choices=[{"delta": {}, "finish_reason": ["stop"]}])),
        ("finish_reason", frame(choices=[{"delta": {}, "finish_reason": {"type": "stop"}}])),
        ("finish_reason", frame(choices=[{"delta": {}, "finish_reason": "a\x00b"}])),
        ("finish_reason", frame(choices=[{"delta": {}, "finish_reason": "tool_calls"}])),
        ("finish_reason", frame(choices=[{"delta": {}, "finish_reason": "x" * 100_000}])),
        ("choices", frame(choices="none")),
        ("choices", frame(choices=["none", {"delta": {"content": ""}}])),
        ("delta", frame(choices=[{"delta": "text"}])),
        ("content", frame(choices=[{"delta": {"content": ["a", "list"]}}])),
    ],
)
def test_an_odd_part_is_dropped_by_name_once_and_the_answer_stays(part: str, odd: bytes) -> None:
    parser = StreamParser()
    with structlog.testing.capture_logs() as logs:
        before = parser.feed(chunk("kept ") + odd + odd)
        after = parser.feed(chunk("too") + b"data: [DONE]\n\n")
    assert before is not None
    assert after is not None
    assert before.text + after.text == "kept too"
    assert parser.ended
    assert parser.failure is None
    assert [entry["part"] for entry in logs] == [part]
    if part == "finish_reason":
        assert before.finish_reason == "stop"


@pytest.mark.parametrize("odd", [b"null", b"5", b"[1]", b'"text"'])
def test_a_frame_that_is_no_object_is_dropped(odd: bytes) -> None:
    parser = StreamParser()
    piece = parser.feed(b"data: " + odd + b"\n\n" + chunk("kept"))
    assert piece is not None and piece.text == "kept" and parser.failure is None


@pytest.mark.parametrize(
    "odd",
    [
        b'{"choices":[],"usage":{"prompt_tokens":NaN,"completion_tokens":Infinity}}',
        b'{"choices":[],"usage":',
        b'{"error":{"message":"the bill was lost"}}',
    ],
)
def test_what_is_odd_after_the_end_does_not_take_the_answer_back(odd: bytes) -> None:
    parser = StreamParser()
    piece = parser.feed(chunk("whole") + chunk(finish_reason="stop") + b"data: " + odd + b"\n\ndata: [DONE]\n\n")
    assert piece is not None and (piece.text, piece.finish_reason, piece.usage) == ("whole", "stop", None)
    assert parser.failure is None and parser.done


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_a_model_thinks_is_told_apart_from_what_it_says(name: str) -> None:
    piece = StreamParser().feed(frame(choices=[{"delta": {name: "Hm.", "content": None}}]) + chunk("Yes."))
    assert piece is not None and (piece.thoughts, piece.text) == ("Hm.", "Yes.")


def test_what_a_model_thinks_in_the_midst_of_what_it_says_counts_too() -> None:
    piece = StreamParser().feed(frame(choices=[{"delta": {"content": "said", "reasoning_content": "thought"}}]))
    assert piece is not None and (piece.text, piece.thoughts) == ("said", "thought")


def test_figures_that_can_be_meant_are_taken() -> None:
    piece = StreamParser().feed(frame(choices=[], usage={"prompt_tokens": 10**15, "completion_tokens": 0}))
    assert piece is not None
    assert piece.usage == TokenUsage(10**15, 0)


def test_nothing_is_odd_about_a_last_frame_that_tells_the_usage_alone() -> None:
    with structlog.testing.capture_logs() as logs:
        stream = chunk("a") + chunk(finish_reason="stop")
        for last in (frame(choices=[], usage={"prompt_tokens": 5, "completion_tokens": 7}), frame(object="ping")):
            assert StreamParser().feed(stream + last) is not None
    assert logs == []


def test_a_frame_that_never_ends_is_given_up() -> None:
    parser = StreamParser()
    parser.feed(b"data: ")
    for _ in range(20):
        parser.feed(b"x" * 2**20)
    assert parser.failure is not None


@pytest.mark.parametrize("part", [b"{}", b"[]", b"NaN", b"1"])
def test_a_frame_of_very_many_parts_keeps_nobody_waiting(part: bytes) -> None:
    """Parsing it took up to ten seconds, in which nobody else was answered."""
    parser = StreamParser()
    parser.feed(b'data: {"choices":[{"delta":{"content":"a"}}],"more":[' + b",".join([part] * 3_000_000) + b"]}\n")
    assert parser.failure is not None


def test_a_long_frame_that_is_nearly_json_keeps_nobody_waiting() -> None:
    parser = StreamParser()
    parser.feed(b'data: {"choices":[],"x":NaN,"more":"' + rb"\u0041" * 2_000_000 + b'"}\n')
    assert parser.failure is not None
