"""Uploads when something goes wrong, on a real database and blob store."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway
from services.gateway.tests.fakes import Behind

from docuchat_common.blobs import Blobs
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.slots import SharedSlots, Slot
from docuchat_common.ids import TenantId
from docuchat_gateway.documents.upload_routes import present
from docuchat_gateway.documents.uploads import UploadService
from docuchat_testkit.eventually import eventually


class LosesAnswers:
    """The unit of work, of which the answer to the `lost`th COMMIT never comes: done it is, and nobody hears of it."""

    def __init__(self, uow: Any, lost: int) -> None:
        self._uow = uow
        self._left = lost

    @contextlib.asynccontextmanager
    async def as_caller(self, caller: Any) -> AsyncIterator[Any]:
        async with self._uow.as_caller(caller) as tx:
            yield tx
        self._left -= 1
        if self._left == 0:
            raise UpstreamUnavailable("The answer to the COMMIT was lost.")


def replace_uploads(gateway: Gateway, *, uow: Any = None, blobs: Blobs | None = None) -> None:
    old = gateway.container.uploads
    service = UploadService(
        uow or old._uow,
        blobs or old._blobs,
        old._idempotency,
        old._holds,
        present,
        old._user_events,
        hold_lease=old._hold_lease,
    )
    object.__setattr__(gateway.container, "uploads", service)


async def assert_store_and_rows_agree(gateway: Gateway) -> None:
    """Every blob is below a row, and every document that is shown has its blob."""
    async with gateway.database.connect() as connection:
        rows = await connection.fetch("SELECT id, status, blob_key FROM knowledge.documents WHERE deleted_at IS NULL")
    keys = {path.relative_to(gateway.blobs).as_posix() for path in gateway.stored()}
    ids = {str(row["id"]) for row in rows}
    assert {key.split("/")[3] for key in keys} <= ids
    assert {row["blob_key"] for row in rows if row["status"] != "receiving"} <= keys


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("key", [None, "a-key"])
async def test_the_lost_answer_to_any_commit_loses_no_document(gateway: Gateway, lost: int, key: str | None) -> None:
    uow = gateway.container.uploads._uow
    headers = {} if key is None else {"Idempotency-Key": key}
    replace_uploads(gateway, uow=LosesAnswers(uow, lost))
    first = await gateway.upload(headers=headers)
    await assert_store_and_rows_agree(gateway)
    replace_uploads(gateway, uow=uow)
    again = await gateway.upload(headers=headers)
    document = await again.json()
    content = await gateway.call("GET", f"/v1/files/{document['id']}/content", headers=gateway.headers())

    assert first.status in {202, 503}
    assert again.status in {200, 202}
    assert (document["status"], (await content.text()).encode()) == ("queued", PDF)
    assert await gateway.fetchval("SELECT count(*) FROM knowledge.documents WHERE status = 'queued'") == 1
    await assert_store_and_rows_agree(gateway)


async def test_a_row_stands_before_its_blob_and_goes_with_it(gateway: Gateway) -> None:
    seen: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
        yield head + PDF + b"x" * 6_000_000
        await eventually(lambda: len(gateway.stored()) == 1)
        (blob,) = gateway.stored()
        seen.append(
            await gateway.fetchval(
                "SELECT count(*) FROM knowledge.documents WHERE status = 'receiving' AND id = $1::uuid", blob.parts[-2]
            )
        )
        yield b"\r\n--b--\r\nno end"

    headers = gateway.headers() | {"Content-Type": "multipart/form-data; boundary=c"}
    refused = await gateway.call("POST", "/v1/files", data=b"--b", headers=headers)
    headers["Content-Type"] = "multipart/form-data; boundary=b"
    stored = await gateway.call("POST", "/v1/files", data=body(), headers=headers)

    assert refused.status == 422
    assert stored.status == 202
    assert seen == [1]
    await assert_store_and_rows_agree(gateway)


@pytest.mark.parametrize("state", ["failed", "no blob"])
async def test_the_same_content_mends_a_document_that_failed_or_has_no_blob(gateway: Gateway, state: str) -> None:
    first = await (await gateway.upload()).json()
    for blob in gateway.stored():
        blob.unlink()
    if state == "failed":
        await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'file_missing'")
    again = await gateway.upload()
    document = await again.json()
    content = await gateway.call("GET", f"/v1/files/{first['id']}/content", headers=gateway.headers())

    assert (again.status, document["id"], document["status"], document["error"]) == (200, first["id"], "queued", None)
    assert (await content.text()).encode() == PDF
    events = "SELECT count(*) FROM knowledge.outbox WHERE type = 'document.uploaded.v1'"
    assert await gateway.fetchval(events) == (2 if state == "failed" else 1)
    await assert_store_and_rows_agree(gateway)


async def test_what_an_upload_was_answered_goes_with_its_document(gateway: Gateway) -> None:
    kept = "SELECT count(*) FROM knowledge.idempotent_requests WHERE body IS NOT NULL"
    for key in ("first", "known-content"):
        response = await gateway.upload(filename="secret plan.pdf", headers={"Idempotency-Key": key})
        document = await response.json()
    assert await gateway.fetchval(kept) == 2
    deleted = await gateway.call("DELETE", f"/v1/files/{document['id']}", headers=gateway.headers())
    assert (deleted.status, await gateway.fetchval(kept)) == (200, 0)
    again = await gateway.upload(filename="secret plan.pdf", headers={"Idempotency-Key": "first"})
    assert (again.status, "Idempotent-Replayed" in again.headers) == (202, False)


async def test_equal_content_of_another_user_is_a_document_of_its_own(gateway: Gateway) -> None:
    mine = await (await gateway.upload(title="Mine")).json()
    other = gateway.mint.headers()
    response = await gateway.upload(headers=other, title="Theirs")
    theirs = await response.json()
    deleted = await gateway.call("DELETE", f"/v1/files/{mine['id']}", headers=gateway.headers())
    content = await gateway.call("GET", f"/v1/files/{theirs['id']}/content", headers=other)

    assert (response.status, theirs["title"], theirs["status"]) == (202, "Theirs", "queued")
    assert theirs["id"] != mine["id"]
    assert deleted.status == 200
    assert (await content.text()).encode() == PDF
    assert gateway.behind.released == []


async def test_a_key_is_its_callers_own(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "shared"}
    first = await gateway.upload(headers=key)
    other = await gateway.upload(headers=key | gateway.mint.headers())

    assert (first.status, other.status) == (202, 202)
    assert "Idempotent-Replayed" not in other.headers
    assert (await first.json())["id"] != (await other.json())["id"]


async def test_a_replay_is_the_first_answer_byte_for_byte(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k"}
    first = await gateway.upload(headers=key)
    await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
    replay = await gateway.upload(headers=key)

    assert (replay.status, await replay.text()) == (202, await first.text())
    assert replay.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize(("role", "status"), [("member", 403), ("admin", 200), ("owner", 200), ("something else", 403)])
async def test_who_uploaded_admins_and_owners_may_delete(gateway: Gateway, role: str, status: int) -> None:
    document = await (await gateway.upload()).json()
    path = f"/v1/files/{document['id']}"
    other = await gateway.call("DELETE", path, headers=gateway.mint.headers(role=role))
    if status == 403:
        assert (await other.json())["code"] == "not_allowed"
        own = await gateway.call("DELETE", path, headers=gateway.headers(role="member"))
        assert own.status == 200
    assert other.status == status


async def test_a_receipt_counts_everything(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    await gateway.fetchval("UPDATE knowledge.documents SET pages = 7")
    deleted = await gateway.call("DELETE", f"/v1/files/{document['id']}", headers=gateway.headers())
    receipt = await deleted.json()

    del receipt["deleted_at"]
    assert receipt == {
        "id": document["id"],
        "documents_deleted": 1,
        "chunks_deleted": 0,
        "pages_deleted": 7,
        "bytes_deleted": len(PDF),
        "blobs_deleted": 1,
        "quotes_deleted": 2,
    }
    assert not (gateway.blobs / "tenants").exists()  # no empty folders either


async def test_room_is_held_before_anything_is_stored_and_given_back_when_nothing_came_of_it(
    gateway: Gateway, behind: Behind
) -> None:
    await gateway.upload()
    ((hold_id, asked),) = behind.holds.items()
    stored = "SELECT convert_from(body, 'utf8') FROM knowledge.outbox WHERE type = 'document.uploaded.v1'"
    event = await gateway.fetchval(stored)
    amounts = {amount.unit.value: amount.amount for amount in asked.amounts}
    await gateway.upload()

    assert (asked.kind.value, asked.tenant_id) == ("upload", 1)
    assert [subject.id for subject in asked.subjects] == [str(gateway.user)]
    assert amounts["documents"] == amounts["pages"] == 1
    assert len(PDF) <= amounts["bytes"] <= len(PDF) + 2000
    assert hold_id in event
    assert behind.released == [list(behind.holds)[1]]


async def test_without_usage_or_quota_nothing_is_accepted(open_gateway: OpenGateway, behind: Behind) -> None:
    async with open_gateway() as gateway:
        problem = {"status": 429, "code": "quota_exceeded", "detail": "No documents are left."}
        behind.refuse_hold = web.json_response(problem, status=429, headers={"Retry-After": "60"})
        refused = await gateway.upload(PDF + b"x" * 3_000_000)
        assert (refused.status, (await refused.json())["code"]) == (429, "quota_exceeded")
        assert refused.headers["Retry-After"] == "60"


async def test_while_usage_is_frozen_an_upload_is_refused_in_time(open_gateway: OpenGateway) -> None:
    connections: list[asyncio.Task[None]] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(
        lambda reader, writer: connections.append(asyncio.ensure_future(silent(reader, writer))), "127.0.0.1", 0
    )
    frozen = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with open_gateway(usage_url=frozen) as gateway:
        began = time.monotonic()
        refused = await gateway.upload(PDF + b"x" * 3_000_000)
        assert refused.status == 503
        assert time.monotonic() - began < 2
        assert int(refused.headers["Retry-After"]) >= 1
        assert gateway.stored() == []
        assert await gateway.fetchval("SELECT count(*) FROM knowledge.documents") == 0
    server.close()
    await asyncio.gather(*connections)


async def test_a_full_disk_is_a_507_and_deletion_still_works(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    replace_uploads(gateway, blobs=Blobs(gateway.settings.blob_url, reserve_bytes=2**62))
    refused = await gateway.upload(PDF + b"other")
    deleted = await gateway.call("DELETE", f"/v1/files/{document['id']}", headers=gateway.headers())

    assert (refused.status, (await refused.json())["code"]) == (507, "storage_full")
    assert deleted.status == 200
    assert gateway.stored() == []


class SlowUpload:
    """An upload over a connection of its own, that sends what it is told to."""

    def __init__(self, gateway: Gateway, headers: dict[str, str]) -> None:
        self._address = urlsplit(gateway.url)
        self._authorization = headers["Authorization"]

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        self.writer.write(
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: {self._authorization}\r\n"
            "Content-Length: 9000000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'.encode()
            + PDF
        )
        await self.writer.drain()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def test_idle_uploads_keep_nobody_out(open_gateway: OpenGateway, behind: Behind) -> None:
    async with open_gateway(max_parallel_uploads=4, upload_idle=20) as gateway, contextlib.AsyncExitStack() as stack:
        for tenant in (2, 3):
            for _ in range(4):
                await stack.enter_async_context(SlowUpload(gateway, gateway.mint.headers(tenant_id=tenant)))
        await eventually(lambda: len(behind.holds) == 8)
        async with asyncio.timeout(30):
            assert (await gateway.upload()).status == 202


async def test_a_silent_upload_is_refused_and_leaves_nothing(open_gateway: OpenGateway) -> None:
    async with open_gateway(upload_idle=0.6) as gateway, SlowUpload(gateway, gateway.headers()) as upload:
        async with asyncio.timeout(30):
            answer = await upload.reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"upload_too_slow" in answer
        await eventually(lambda: gateway.stored() == [])


@pytest.mark.parametrize(
    "settings",
    [
        {"upload_idle": 0.2, "upload_bytes_per_second": 10**9},
        {"upload_timeout": 0.5, "upload_bytes_per_second": 0},
    ],
)
async def test_an_upload_that_trickles_or_takes_too_long_is_refused(
    open_gateway: OpenGateway, settings: dict[str, Any]
) -> None:
    async with open_gateway(**settings) as gateway, SlowUpload(gateway, gateway.headers()) as upload:

        async def trickle() -> None:
            while True:
                upload.writer.write(b"x")
                await upload.writer.drain()
                await asyncio.sleep(0.05)

        sender = asyncio.create_task(trickle())
        async with asyncio.timeout(30):
            answer = await upload.reader.readuntil(b"}")
        sender.cancel()
        assert answer.startswith(b"HTTP/1.1 408")


async def test_a_user_has_a_quarter_of_the_slots_and_a_tenant_half() -> None:
    slots = SharedSlots(8)
    mine, colleague, other = (Caller(TenantId(tenant), "user", uuid.uuid4(), role="member") for tenant in (1, 1, 2))

    async def takes(caller: Caller) -> bool:
        slot = slots.slot_of(caller)
        held.append(slot)
        try:
            async with asyncio.timeout(0.05):
                await slot.take()
        except TimeoutError:
            return False
        return True

    held: list[Slot] = []
    assert [await takes(mine) for _ in range(3)] == [True, True, False]
    assert [await takes(colleague) for _ in range(3)] == [True, True, False]
    third = Caller(TenantId(1), "user", uuid.uuid4(), role="member")
    assert not await takes(third)
    assert await takes(other)
    held[0].give_up()
    assert await takes(third)
