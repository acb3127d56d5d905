"""What a service keeps of a tenant, or of one person, told as lines of JSON.

A service lists its tables as named queries in an `exports.sql`; each gives one column, `row`, a JSON object without
secrets. A line names the file of the archive that it belongs to. The last one counts them, so that what was cut off on
its way is not taken for the whole.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
import orjson

from docuchat_common.db.queries import in_batches
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId

PATH: Final = "/internal/export"
_BATCH: Final = 200


class ExportCutOff(UpstreamUnavailable):
    """A service did not tell all that it keeps; it is asked again."""

    code = "export_cut_off"


@dataclass(frozen=True, slots=True)
class Exported:
    """Whose data is meant: a tenant's, or of one of its people, with the person's API keys and readable collections."""

    tenant_id: TenantId
    user_id: UUID | None = None
    key_ids: tuple[UUID, ...] = ()
    collection_ids: tuple[UUID, ...] = ()

    @property
    def subject_ids(self) -> list[UUID] | None:
        """The ids under which the person acts; None where everybody is meant."""
        return None if self.user_id is None else [self.user_id, *self.key_ids]


class Snapshots(Protocol):
    """A unit of work, as far as it reads."""

    def snapshot(self, tenant_id: TenantId) -> AbstractAsyncContextManager[asyncpg.Connection]: ...


class Exporter:
    """Tells the rows of one service, all of one moment, a bounded number at a time."""

    def __init__(self, snapshots: Snapshots, queries: Any, files: Sequence[str]) -> None:
        """`files` are the names of the queries, and of the archive's files, in order."""
        self._snapshots = snapshots
        self._queries = queries
        self._files = files

    async def lines(self, whose: Exported) -> AsyncGenerator[bytes, None]:
        """Lines, several at once."""
        counts: dict[str, int] = {}
        async with self._snapshots.snapshot(whose.tenant_id) as connection:
            for file in self._files:
                counts[file] = 0
                head = b'{"file":%b,"row":' % orjson.dumps(file)
                batches = in_batches(
                    self._queries,
                    file,
                    connection,
                    _BATCH,
                    tenant_id=whose.tenant_id,
                    user_id=whose.user_id,
                    subject_ids=whose.subject_ids,
                    collection_ids=whose.collection_ids,
                )
                async for rows in batches:
                    counts[file] += len(rows)
                    yield b"".join(head + row["row"].encode() + b"}\n" for row in rows)
        yield orjson.dumps({"end": counts}) + b"\n"


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A line that was read."""

    file: str
    row: dict[str, Any]


async def read_rows(chunks: AsyncIterator[bytes]) -> AsyncGenerator[ExportedRow | frozenset[str], None]:
    """The rows of a stream, however it is cut, then the names of its files. Raises ExportCutOff."""
    counts: dict[str, int] = {}
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            said = orjson.loads(line)
            if "end" in said:
                if {name: count for name, count in said["end"].items() if count} != counts:
                    raise ExportCutOff
                yield frozenset(said["end"])
                return
            counts[said["file"]] = counts.get(said["file"], 0) + 1
            yield ExportedRow(said["file"], said["row"])
    raise ExportCutOff
