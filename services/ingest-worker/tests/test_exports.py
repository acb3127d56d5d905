"""Archives: whole or not there, whoever dies, and nothing of a user's is a path."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from docuchat_common.blobs import Blobs
from docuchat_common.db import UnitOfWork
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.exporting import Exported, Exporter
from docuchat_common.ids import UserId, uuid7
from docuchat_common.removals import RemovedUser
from docuchat_ingest.exports.service import Exports
from docuchat_ingest.jobs.people import People
from docuchat_ingest.transaction import SCHEMA, compose
from docuchat_knowledge.exports.repository import FILES, ROWS
from docuchat_testkit.eventually import eventually

from .bench import TENANT, Bench
from .test_people import add

KEY = uuid7()
CONTENT = b"%PDF-1.7 the original"
WEEK = timedelta(days=7)


class Told:
    """Another service, with what it keeps."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self.rows = rows
        self.asked: list[Exported] = []
        self.failures = 0
        self.hangs = False

    async def lines(self, whose: Exported) -> AsyncGenerator[bytes, None]:
        self.asked.append(whose)
        for file, rows in self.rows.items():
            for row in rows:
                yield orjson.dumps({"file": file, "row": row}) + b"\n"
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            self.failures -= 1
            raise UpstreamUnavailable
        yield orjson.dumps({"end": {file: len(rows) for file, rows in self.rows.items()}}) + b"\n"


class Desk:
    """Exports of a tenant whose people and chats are told by others."""

    def __init__(self, bench: Bench, exporter: Exporter, folder: Path) -> None:
        self.bench, self.folder, self._exporter = bench, folder, exporter
        self.auth = Told({"users": [{"id": "1"}], "api_keys": [{"id": str(KEY)}], "invitations": []})
        self.chat = Told({"chats": [{"id": str(number), "title": "x" * 1000} for number in range(900)]})

    def worker(self, worker_id: int = 1) -> Exports:
        blobs = Blobs(f"file://{self.folder}")
        return Exports(self.bench.uow, blobs, self.auth, [self.chat, self._exporter], WEEK, worker_id)

    async def ask(self, user: UUID | None = None) -> UUID:
        export_id = uuid7()
        await self.bench.rows(
            "INSERT INTO knowledge.exports (id, tenant_id, user_id, requested_by) VALUES ($1, $2, $3, $1)",
            export_id,
            int(TENANT),
            user,
        )
        return export_id

    async def upload(self, user: UUID | None = None, *, is_there: bool = True) -> UUID:
        document = await add(self.bench, user)
        key = f"tenants/{TENANT}/documents/{document}/original"
        await self.bench.rows(
            "UPDATE knowledge.documents SET blob_key = $2, filename = '../../etc/passwd' WHERE id = $1", document, key
        )
        if is_there:
            path = self.folder / key
            await asyncio.to_thread(path.parent.mkdir, parents=True)
            await asyncio.to_thread(path.write_bytes, CONTENT)
        return document

    async def state(self, export_id: UUID) -> Any:
        (row,) = await self.bench.rows("SELECT * FROM knowledge.exports WHERE id = $1", export_id)
        return row

    def archives(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and "exports" in path.parts]

    def open(self) -> tuple[zipfile.ZipFile, dict[str, Any]]:
        (path,) = self.archives()
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        assert archive.testzip() is None
        return archive, json.loads(archive.read("manifest.json"))


@pytest.fixture
async def desk(bench: Bench, tmp_path: Path) -> Any:
    async with bench.database.open("ingest", max_size=2) as opened:
        uow = UnitOfWork(opened, compose, schema=SCHEMA, service="ingest")
        yield Desk(bench, Exporter(uow, ROWS, FILES), tmp_path / "blobs")


async def test_an_archive_has_all_that_is_told_and_the_originals_and_says_so(desk: Desk) -> None:
    there, gone = await desk.upload(), await desk.upload(is_there=False)
    export_id = await desk.ask()
    assert await desk.worker().make_next() and not await desk.worker().make_next()
    archive, manifest = desk.open()
    names = {file["path"] for file in manifest["files"]}
    rows = {"users", "api_keys", "invitations", "chats", "collections", "documents"}
    assert names == {f"{name}.ndjson" for name in rows} | {f"files/{there}.pdf"}
    assert set(archive.namelist()) == names | {"manifest.json"} and manifest["missing_files"] == [str(gone)]
    assert (manifest["format"], manifest["version"], manifest["user_id"]) == ("docuchat-export", 1, None)
    for file in manifest["files"]:
        content = archive.read(file["path"])
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size"], file["sha256"])
        assert file["rows"] is None or len(content.splitlines()) == file["rows"]
    assert archive.read(f"files/{there}.pdf") == CONTENT
    documents = [json.loads(line) for line in archive.read("documents.ndjson").splitlines()]
    assert {document["id"] for document in documents} == {str(there), str(gone)}
    assert documents[0]["filename"] == "../../etc/passwd", "what it was called is a value, and no path"
    row = await desk.state(export_id)
    (ready,) = [body["data"] for kind, body in await desk.bench.events() if kind == "export.ready.v1"]
    assert (row["state"], row["size_bytes"]) == ("ready", ready["size_bytes"]) and row["blob_key"].endswith("1.zip")


async def test_one_persons_archive_has_that_persons_documents_and_asks_for_the_persons_keys(desk: Desk) -> None:
    eve, bob = uuid7(), uuid7()
    own, _ = await desk.upload(eve), await desk.upload(bob)
    await desk.ask(eve)
    await desk.worker().make_next()
    archive, manifest = desk.open()
    assert [name for name in archive.namelist() if name.startswith("files/")] == [f"files/{own}.pdf"]
    assert [json.loads(line)["id"] for line in archive.read("documents.ndjson").splitlines()] == [str(own)]
    assert str(bob) not in archive.read("collections.ndjson").decode() and manifest["user_id"] == str(eve)
    assert desk.chat.asked == [Exported(TENANT, eve, (KEY,))]


async def test_what_fails_is_tried_again_later_and_in_the_end_given_up(desk: Desk) -> None:
    export_id, desk.chat.failures = await desk.ask(), 6
    for attempt in range(1, 7):
        assert await desk.worker().make_next() and desk.archives() == []
        row = await desk.state(export_id)
        assert (row["state"], row["attempts"]) == ("queued" if attempt < 6 else "failed", attempt)
        assert not await desk.worker().make_next(), "not at once"
        await desk.bench.rows("UPDATE knowledge.exports SET not_before = now()")
    assert (await desk.state(export_id))["expires_at"] is not None


async def test_an_archive_whose_worker_dies_is_made_anew_and_never_half(desk: Desk) -> None:
    export_id, desk.chat.hangs = await desk.ask(), True
    dying = asyncio.create_task(desk.worker().make_next())
    await eventually(lambda: len(desk.chat.asked) == 1)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert desk.archives() == [] and (await desk.state(export_id))["state"] == "running"
    desk.chat.hangs = False
    assert await desk.worker(2).make_next()
    desk.open()
    assert (await desk.state(export_id))["attempts"] == 2


async def test_a_worker_that_was_thought_dead_changes_nothing_any_more(desk: Desk) -> None:
    await desk.ask()
    async with desk.bench.uow.system() as tx:
        late = await tx.exports.claim(1, 1, timedelta(0))
    assert late is not None and await desk.worker(2).make_next()
    async with desk.bench.uow(TENANT) as tx:
        assert await tx.exports.finish(late, "key", 1, WEEK) is None
        await tx.exports.postpone(late, 6, WEEK)
    desk.open()


async def test_archives_go_when_their_time_is_over_and_with_their_person(desk: Desk) -> None:
    eve = UserId(uuid7())
    await desk.ask()
    await desk.ask(eve)
    while await desk.worker().make_next():
        pass
    await desk.worker().sweep()
    assert len(desk.archives()) == 2
    await People(desk.bench.uow, desk.bench.around).settle(RemovedUser(TENANT, eve))
    await desk.worker().sweep()
    assert len(desk.archives()) == 1
    await desk.bench.rows("UPDATE knowledge.exports SET expires_at = now()")
    await desk.worker().sweep()
    assert desk.archives() == [] and await desk.bench.rows("SELECT FROM knowledge.exports") == []
