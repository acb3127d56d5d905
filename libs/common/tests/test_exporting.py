"""What services tell of a tenant: nothing that was cut off is taken for the whole."""

from collections.abc import AsyncIterator

import orjson
import pytest

from docuchat_common.exporting import ExportCutOff, ExportedRow, read_rows

LINES = b"".join(
    orjson.dumps(line) + b"\n"
    for line in (
        {"file": "users", "row": {"id": 1, "name": "\u2028 Ann"}},
        {"file": "users", "row": {"id": 2}},
        {"file": "groups", "row": {"id": 3}},
        {"end": {"users": 2, "groups": 1, "keys": 0}},
    )
)


async def stream(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_rows_are_read_however_they_are_cut_on_their_way(size: int) -> None:
    *rows, files = [said async for said in read_rows(stream(LINES, size))]
    assert [(row.file, row.row["id"]) for row in rows if isinstance(row, ExportedRow)] == [
        ("users", 1),
        ("users", 2),
        ("groups", 3),
    ]
    assert files == {"users", "groups", "keys"}


async def test_a_stream_that_breaks_off_or_misses_a_row_is_refused_wherever() -> None:
    whole = LINES.split(b"\n")
    without_a_row = b"\n".join([*whole[:1], *whole[2:]])
    for content in [LINES[:end] for end in range(len(LINES) - 1)] + [without_a_row]:
        with pytest.raises(ExportCutOff):
            async for _ in read_rows(stream(content, 64)):
                pass
