"""Cursors are opaque, round-trip, and a foreign one is a clear error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docuchat_common.http.pages import InvalidCursor, decode_cursor, encode_cursor


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_a_cursor_round_trips(position: list[str]) -> None:
    assert decode_cursor(encode_cursor(*position), len(position)) == position


@pytest.mark.parametrize("text", ["", "abc", "ناشناس", "bnVsbA", encode_cursor("one"), encode_cursor("a", None)])
def test_a_cursor_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(text, 2)
