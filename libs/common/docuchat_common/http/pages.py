"""Lists are cursor pages: stable under inserts, and no page costs more than the first."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from docuchat_common.errors import InvalidInput
from docuchat_common.http.problems import raises

T = TypeVar("T")
P = TypeVar("P")

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before.")]


class InvalidCursor(InvalidInput):
    """The cursor is not one that we gave; leave it out to begin with the first page."""

    code = "invalid_cursor"


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(
        default=None, description="Send as `cursor` for the next page; null on the last one."
    )


def encode_cursor(*position: Any) -> str:
    """An opaque cursor of the last item's sort key (JSON-able values)."""
    return (
        base64.urlsafe_b64encode(orjson.dumps([str(part) if part is not None else None for part in position]))
        .decode()
        .rstrip("=")
    )


def decode_cursor(cursor: str, length: int) -> list[str]:
    """The sort key in `cursor`, `length` strings; InvalidCursor when it is not ours."""
    try:
        position = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if not isinstance(position, list) or len(position) != length or not all(isinstance(part, str) for part in position):
        raise InvalidCursor
    return position


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list is asked for."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    @property
    def rows(self) -> int:
        """How many rows to read: one more than is shown tells whether there is a next page."""
        return self.limit + 1

    def after(self, length: int, read: Callable[..., P]) -> P | None:
        """The position that the page begins after: `read` of the cursor's `length` strings; None for the first page.

        A ValueError of `read` is InvalidCursor.
        """
        if self.cursor is None:
            return None
        try:
            return read(*decode_cursor(self.cursor, length))
        except (ValueError, OverflowError) as error:
            raise InvalidCursor from error

    def page(self, found: Sequence[T], show: Callable[[T], P], position: Callable[[T], Sequence[Any]]) -> Page[P]:
        """The page of up to `rows` rows, as `show` presents each; `position` is a row's sort key."""
        shown = found[: self.limit]
        more = len(found) > self.limit
        return Page(
            items=[show(row) for row in shown], next_cursor=encode_cursor(*position(shown[-1])) if more else None
        )


def number(text: str, below: int = 1 << 63) -> int:
    """A position that is a count, for `PageRequest.after`; ValueError for what was never given."""
    if not (text.isascii() and text.isdecimal() and (found := int(text)) < below):
        raise ValueError
    return found


def moment(text: str) -> datetime:
    """A position that is a time with its zone, in UTC; ValueError for what was never given."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    # in UTC already here: at either end of the calendar another zone's time cannot be converted
    return at.astimezone(UTC)


@raises(InvalidCursor)
async def page_request(limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> PageRequest:
    """The `limit` and `cursor` of a list's query."""
    return PageRequest(limit, cursor)


Paging = Annotated[PageRequest, Depends(page_request)]
