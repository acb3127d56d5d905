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
from docuchat_common.db.presence import Presence
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.exporting import Exported, Exporter
from docuchat_common.ids import TenantId, UserId, uuid7
from docuchat_common.removals import RemovedUser
from docuchat_ingest.exports.service import Exports
from docuchat_ingest.transaction import SCHEMA, compose
from docuchat_knowledge.exports.repository import FILES, ROWS
from docuchat_knowledge.jobs.claims import LOCK_CLASS
from docuchat_testkit.eventually import eventually

from .bench import TENANT, Bench
from .test_people import add, make_removals

KEY, GROUP = uuid7(), uuid7()
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
        self.auth = Told(
            {
                "users": [{"id": "1", "role": "member"}],
                "groups": [{"id": str(GROUP)}],
                "api_keys": [{"id": str(KEY)}],
                "invitations": [],
            }
        )
        self.chat = Told({"chats": [{"id": str(number), "title": "x" * 1000} for number in range(900)]})

    def worker(self, worker_id: int = 1) -> Exports:
        blobs = Blobs(f"file://{self.folder}")
        return Exports(self.bench.uow, blobs, self.auth, self.chat, [self._exporter], WEEK, worker_id)

    async def ask(self, user: UUID | None = None, *, by: UUID | None = None, tenant: TenantId = TENANT) -> UUID:
        export_id = uuid7()
        await self.bench.rows(
            "INSERT INTO knowledge.exports (id, tenant_id, user_id, requested_by) VALUES ($1, $2, $3, $4)",
            export_id,
            int(tenant),
            user,
            by or user or export_id,
        )
        return export_id

    async def restrict(self, document: UUID) -> UUID:
        """Put a document where nobody reads but admins."""
        (row,) = await self.bench.rows(
            "INSERT INTO knowledge.collections (id, tenant_id, name, is_default, visibility) "
            "VALUES (gen_random_uuid(), $1, 'Board', false, 'restricted') RETURNING id",
            int(TENANT),
        )
        await self.bench.rows("UPDATE knowledge.documents SET collection_id = $2 WHERE id = $1", document, row["id"])
        collection: UUID = row["id"]
        return collection

    async def admit(self, collection: UUID, member: UUID) -> None:
        await self.bench.rows(
            "INSERT INTO knowledge.collection_members (collection_id, member_id, tenant_id, access) "
            "VALUES ($1, $2, $3, 'read')",
            collection,
            member,
            int(TENANT),
        )

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
    rows = {"users", "groups", "api_keys", "invitations", "chats", "collections", "documents"}
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
    await desk.ask(eve, by=bob)
    await desk.worker().make_next()
    assert "chats.ndjson" not in desk.open()[0].namelist() and desk.chat.asked == [], "chats are private"
    await desk.bench.rows("UPDATE knowledge.exports SET expires_at = now()")
    await desk.worker().sweep()
    await desk.ask(eve)
    await desk.worker().make_next()
    archive, manifest = desk.open()
    assert "chats.ndjson" in archive.namelist()
    assert [name for name in archive.namelist() if name.startswith("files/")] == [f"files/{own}.pdf"]
    assert [json.loads(line)["id"] for line in archive.read("documents.ndjson").splitlines()] == [str(own)]
    assert str(bob) not in archive.read("collections.ndjson").decode() and manifest["user_id"] == str(eve)
    (asked,) = desk.chat.asked
    assert (asked.user_id, asked.key_ids) == (eve, (KEY,))


async def test_a_persons_archive_shows_what_the_person_may_read_and_of_the_rest_that_it_is_there(desk: Desk) -> None:
    eve, heir = UserId(uuid7()), UserId(uuid7())
    inherited, own = await desk.upload(eve), await desk.upload(heir)
    collection = await desk.restrict(inherited)
    await make_removals(desk.bench).settle(RemovedUser(TENANT, eve, hand_over_to=heir))

    async def shown() -> dict[str, Any]:
        await desk.ask(heir)
        assert await desk.worker().make_next()
        await desk.worker().sweep()
        archive, manifest = desk.open()
        rows = {row["id"]: row for row in map(json.loads, archive.read("documents.ndjson").splitlines())}
        assert rows.keys() == {str(inherited), str(own)} and manifest["missing_files"] == []
        assert rows[str(own)]["title"] == "A file" and f"files/{own}.pdf" in archive.namelist()
        row: dict[str, Any] = rows[str(inherited)]
        assert ("title" in row) == (f"files/{inherited}.pdf" in archive.namelist())
        return row

    of_what_it_is = {"title", "filename", "media_type", "sha256", "pages", "chunks", "info", "warnings"}
    assert (await shown()).keys().isdisjoint(of_what_it_is)
    for member in (heir, GROUP):
        await desk.admit(collection, member)
        assert (await shown()).keys() >= of_what_it_is
        await desk.bench.rows("DELETE FROM knowledge.collection_members")
    assert "title" not in await shown()
    desk.auth.rows["users"][0]["role"] = "admin"
    assert "title" in await shown()


async def test_one_archive_of_a_kind_is_kept(desk: Desk) -> None:
    eve, admin = uuid7(), uuid7()
    kept: list[UUID] = []
    for _ in range(2):
        kept.clear()
        for user, by in ((None, admin), (eve, eve), (eve, admin)):
            kept.append(await desk.ask(user, by=by))
            assert await desk.worker().make_next()
    await desk.worker().sweep()
    rows = await desk.bench.rows("SELECT id FROM knowledge.exports WHERE state = 'ready'")
    assert {row["id"] for row in rows} == set(kept) and len(desk.archives()) == 3


async def test_tenants_take_turns_however_many_one_asks_for(desk: Desk) -> None:
    first, second, third = [await desk.ask(uuid7()) for _ in range(3)]
    other = await desk.ask(tenant=TenantId(2))
    made = []
    while await desk.worker().make_next():
        (row,) = await desk.bench.rows("SELECT id FROM knowledge.exports ORDER BY claimed_at DESC NULLS LAST LIMIT 1")
        made.append(row["id"])
    assert made == [first, other, second, third]


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


async def test_a_worker_goes_on_with_what_it_has_claimed_without_hearing_of_it(desk: Desk) -> None:
    export_id = await desk.ask()
    async with Presence.open(desk.bench.database.system_url("ingest"), LOCK_CLASS) as alive:
        async with desk.bench.uow.system() as tx:  # the answer to this COMMIT is lost
            await tx.exports.claim(alive.process_id, LOCK_CLASS, timedelta(0), most_attempts=6, lifetime=WEEK)
        assert not await desk.worker(2).make_next(), "whose worker lives is nobody else's"
        assert await desk.worker(alive.process_id).make_next()
    desk.open()
    assert (await desk.state(export_id))["attempts"] == 2


async def test_what_ends_its_worker_each_time_is_given_up(desk: Desk) -> None:
    export_id = await desk.ask()
    for worker in range(2, 8):
        async with desk.bench.uow.system() as tx:
            assert await tx.exports.claim(worker, 1, timedelta(0), most_attempts=6, lifetime=WEEK)
    assert not await desk.worker().make_next()
    row = await desk.state(export_id)
    assert (row["state"], row["attempts"]) == ("failed", 6) and row["expires_at"] is not None


async def test_a_worker_that_was_thought_dead_changes_nothing_any_more(desk: Desk) -> None:
    await desk.ask()
    async with desk.bench.uow.system() as tx:
        late = await tx.exports.claim(1, 1, timedelta(0), most_attempts=6, lifetime=WEEK)
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
    await make_removals(desk.bench).settle(RemovedUser(TENANT, eve))
    await desk.worker().sweep()
    assert len(desk.archives()) == 1
    await desk.bench.rows("UPDATE knowledge.exports SET expires_at = now()")
    await desk.worker().sweep()
    assert desk.archives() == [] and await desk.bench.rows("SELECT FROM knowledge.exports") == []
