"""Lists are cursor pages: stable under inserts, and no page costs more than the first."""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import BaseModel, Field

from docuchat_common.errors import InvalidInput

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=100, description="How many items at most.")]
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
