"""Cursors are opaque, round-trip, and a foreign one is a clear error."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docuchat_common.http.pages import InvalidCursor, PageRequest, decode_cursor, encode_cursor, number


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_a_cursor_round_trips(position: list[str]) -> None:
    assert decode_cursor(encode_cursor(*position), len(position)) == position


@pytest.mark.parametrize("text", ["", "abc", "ناشناس", "bnVsbA", encode_cursor("one"), encode_cursor("a", None)])
def test_a_cursor_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(text, 2)


@given(st.integers(0, 12), st.integers(1, 5))
def test_pages_together_are_the_list(length: int, limit: int) -> None:
    items, seen, cursor = list(range(length)), [], None
    for _ in count():
        page = PageRequest(limit, cursor)
        after = page.after(1, int)
        found = [item for item in items if after is None or item > after][: page.rows]
        shown = page.page(found, str, lambda item: (item,))
        assert len(shown.items) <= limit
        seen += shown.items
        cursor = shown.next_cursor
        if cursor is None:
            break
    assert seen == [str(item) for item in items]


def test_a_position_that_cannot_be_read_is_a_foreign_cursor() -> None:
    with pytest.raises(InvalidCursor):
        PageRequest(cursor=encode_cursor("soon")).after(1, int)


@pytest.mark.parametrize("text", ["-1", "+1", "1_0", "٣", "", str(1 << 63)])
def test_a_number_that_was_never_given_is_none(text: str) -> None:
    with pytest.raises(InvalidCursor):
        PageRequest(cursor=encode_cursor(text)).after(1, number)
