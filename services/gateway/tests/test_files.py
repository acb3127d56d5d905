"""Uploads and what becomes of them, on a real database and blob store."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway

from docuchat_testkit.eventually import eventually

BOUNDARY = "a-boundary"


def form(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    """A raw multipart body of (disposition, content)."""
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    return body + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


async def post_raw(
    gateway: Gateway, body: Any, content_type: str | None = None, keys: Sequence[str] = ()
) -> tuple[int, Any]:
    kind = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    headers = [*gateway.headers().items(), ("Content-Type", kind), *(("Idempotency-Key", key) for key in keys)]
    async with gateway.http.post("/v1/files", data=body, headers=headers) as response:
        return response.status, await response.json()


async def test_an_upload_is_accepted_stored_and_announced(gateway: Gateway) -> None:
    response = await gateway.upload(title="My  Document ")
    document = await response.json()

    assert response.status == 202
    assert response.headers["Location"] == f"/v1/files/{document['id']}"
    assert document["title"] == "My Document"
    assert document["status"] == "queued"
    assert document["filename"] == "document.pdf"
    assert document["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert document["size_bytes"] == len(PDF)
    (blob,) = gateway.stored()
    assert blob.relative_to(gateway.blobs).as_posix() == f"tenants/1/documents/{document['id']}/{document['sha256']}"
    assert blob.read_bytes() == PDF
    # no consumer is bound here, so the event waits in the outbox
    kind = "SELECT count(*) FROM knowledge.outbox WHERE type = 'document.uploaded.v1'"
    assert await gateway.fetchval(kind) == 1


async def test_the_title_may_come_before_or_after_the_file_or_not_at_all(gateway: Gateway) -> None:
    file = ('name="file"; filename="report 2026.pdf"', PDF)
    after = await post_raw(gateway, form(file, ('name="title"', b"After")))
    other = ('name="file"; filename="report 2026.pdf"', PDF + b"1")
    before = await post_raw(gateway, form(('name="title"', b"Before"), other))
    third = ('name="file"; filename="report 2026.pdf"', PDF + b"2")
    untitled = await post_raw(gateway, form(('name="other"', b"ignored"), third))

    assert [(status, body["title"]) for status, body in (after, before, untitled)] == [
        (202, "After"),
        (202, "Before"),
        (202, "report 2026"),
    ]


async def test_the_same_content_is_the_same_document(gateway: Gateway) -> None:
    first = await (await gateway.upload()).json()
    again = await gateway.upload(title="Another title", filename="other.pdf")

    assert again.status == 200
    assert (await again.json())["id"] == first["id"]
    assert len(gateway.stored()) == 1


async def test_a_hundred_equal_uploads_at_once_are_one_document(gateway: Gateway) -> None:
    content = PDF + b"x" * 100_000
    responses = await asyncio.gather(*(gateway.upload(content) for _ in range(100)))
    documents = [(await response.json())["id"] for response in responses]

    assert sorted(response.status for response in responses) == [200] * 99 + [202]
    assert len(set(documents)) == 1
    assert len(gateway.stored()) == 1
    events = await gateway.fetchval("SELECT array_agg(type ORDER BY id) FROM knowledge.outbox")
    assert events == ["document.uploaded.v1", "audit.recorded.v1"]


async def test_a_hundred_equal_requests_with_one_key_have_one_effect(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "key-1"}
    responses = await asyncio.gather(*(gateway.upload(headers=key) for _ in range(100)))
    replay = await gateway.upload(headers=key)
    other_body = await gateway.upload(PDF + b"changed", headers=key)
    other_title = await gateway.upload(title="changed", headers=key)
    somebody_else = await gateway.upload(headers=key | gateway.mint.headers(tenant_id=2))

    statuses = {response.status for response in responses}
    assert (
        202 in statuses <= {202, 409, 503}
    )  # 503: the machine stood still for as long as a transaction may take to begin
    assert (
        sum(response.headers.get("Idempotent-Replayed") is None and response.status == 202 for response in responses)
        == 1
    )
    assert replay.status == 202
    assert replay.headers["Idempotent-Replayed"] == "true"
    assert (other_body.status, (await other_body.json())["code"]) == (422, "idempotency_key_reused")
    assert other_title.status == 422
    assert somebody_else.status == 202
    assert "Idempotent-Replayed" not in somebody_else.headers
    assert len(gateway.stored()) == 2


async def test_a_key_survives_a_restart_and_a_failed_request_frees_it(open_gateway: OpenGateway) -> None:
    key = {"Idempotency-Key": "key-2"}
    async with open_gateway() as gateway:
        refused = await gateway.upload(b"not a pdf", headers=key)
        accepted = await gateway.upload(headers=key)
        document = await accepted.json()
        user = gateway.user
    async with open_gateway() as gateway:
        gateway.user = user
        replay = await gateway.upload(headers=key)

        assert refused.status == 415
        assert accepted.status == 202
        assert replay.headers["Idempotent-Replayed"] == "true"
        assert (await replay.json())["id"] == document["id"]


@pytest.mark.parametrize(
    ("content", "filename", "status", "code"),
    [
        (b"", "document.pdf", 422, "file_empty"),
        (b"plain text", "document.pdf", 415, "file_type_refused"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 3000, "document.pdf", 415, "file_type_refused"),
        (b"MZ" + b"\0" * 2000 + PDF, "document.pdf", 415, "file_type_refused"),
    ],
)
async def test_what_is_not_a_pdf_is_refused_by_its_content(
    gateway: Gateway, content: bytes, filename: str, status: int, code: str
) -> None:
    response = await gateway.upload(content, filename)
    problem = await response.json()

    assert (response.status, problem["code"]) == (status, code)
    assert gateway.stored() == []


async def test_a_pdf_header_may_stand_a_little_later_and_the_name_does_not_matter(gateway: Gateway) -> None:
    response = await gateway.upload(b"\r\n" * 200 + PDF, "picture.png")
    assert response.status == 202


async def test_a_form_that_is_wrong_is_told_how_to_be_right(gateway: Gateway) -> None:
    file = ('name="file"; filename="a.pdf"', PDF)
    answers = {
        "json": await post_raw(gateway, b"{}", "application/json"),
        "no boundary": await post_raw(gateway, form(file), "multipart/form-data"),
        "no file": await post_raw(gateway, form(('name="title"', b"x"))),
        "text": await post_raw(gateway, form(('name="file"', b"document.pdf"))),
        "wrong field": await post_raw(gateway, form(('name="document"; filename="a.pdf"', PDF))),
        "two": await post_raw(gateway, form(file, file)),
        "cut": await post_raw(gateway, form(file, end=False)),
        "garbage": await post_raw(gateway, b"garbage" * 1000),
        "empty": await post_raw(gateway, b""),
        "collection": await post_raw(gateway, form(file, ('name="collection_id"', b"mine"))),
        "no collection": await post_raw(gateway, form(file, ('name="collection_id"', str(uuid.uuid4()).encode()))),
        "long field": await post_raw(gateway, form(('name="title"', b"x" * 20_000), file)),
        "many parts": await post_raw(gateway, form(*[('name="x"', b"1")] * 40, file)),
        "key": await post_raw(gateway, form(file), keys=["with space"]),
        "keys": await post_raw(gateway, form(file), keys=["one", "two"]),
    }
    assert {name: (status, problem["code"]) for name, (status, problem) in answers.items()} == {
        "json": (415, "not_multipart"),
        "no boundary": (422, "malformed_form"),
        "no file": (422, "file_required"),
        "text": (422, "file_required"),
        "wrong field": (422, "file_required"),
        "two": (422, "invalid_input"),
        "cut": (422, "malformed_form"),
        "garbage": (422, "malformed_form"),
        "empty": (422, "malformed_form"),
        "collection": (422, "invalid_input"),
        "no collection": (404, "collection_not_found"),
        "long field": (422, "malformed_form"),
        "many parts": (422, "malformed_form"),
        "key": (422, "idempotency_key_invalid"),
        "keys": (422, "idempotency_key_invalid"),
    }
    assert gateway.stored() == []


async def test_a_file_that_is_too_large_is_refused_before_the_rest_is_read(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_file_size_mb=1) as gateway:
        declared = await gateway.upload(PDF + b"x" * 3_000_000)

        async def endless() -> Any:
            yield form(('name="file"; filename="a.pdf"', PDF), end=False)[:-2]
            for _ in range(10_000):
                yield b"x" * 65536
                await asyncio.sleep(0)

        sent = await post_raw(gateway, endless())

        assert (declared.status, (await declared.json())["code"]) == (413, "file_too_large")
        assert sent[0] == 413
        assert gateway.stored() == []


async def test_a_client_that_hangs_up_in_the_midst_leaves_nothing(gateway: Gateway) -> None:
    address = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    start = form(('name="file"; filename="a.pdf"', PDF + b"x" * 6_000_000), end=False)
    authorization = gateway.headers()["Authorization"]
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 9000000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        + start
    )
    await writer.drain()
    await eventually(lambda: len(gateway.stored()) == 1)
    writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.close()

    await eventually(lambda: gateway.stored() == [])

    async def forgotten() -> bool:
        return await gateway.fetchval("SELECT count(*) FROM knowledge.documents") == 0

    await eventually(forgotten)  # the row goes after its file


async def test_a_client_that_waits_for_continue_is_not_asked_for_a_body_that_is_too_large(gateway: Gateway) -> None:
    address = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: {gateway.headers()['Authorization']}\r\n"
        f"Expect: 100-continue\r\nContent-Length: 90000000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    )
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("گزارش سالانه.pdf", "گزارش سالانه.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("...", "document.pdf"),
        ("x" * 400 + ".pdf", "x" * 251 + ".pdf"),
    ],
)
async def test_a_file_name_is_shown_but_never_a_path(gateway: Gateway, sent: str, kept: str) -> None:
    status, document = await post_raw(gateway, form((f'name="file"; filename="{sent}"', PDF)))

    assert status == 202
    assert document["filename"] == kept
    (blob,) = gateway.stored()
    assert blob.name == document["sha256"]

    path = f"/v1/files/{document['id']}/content"
    async with gateway.http.get(path, headers=gateway.headers()) as content:
        assert await content.read() == PDF
    disposition = aiohttp.multipart.parse_content_disposition(content.headers["Content-Disposition"])
    assert disposition[0] == "attachment"
    assert disposition[1]["filename*"] == kept


async def test_content_comes_whole_or_in_part(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    path = f"/v1/files/{document['id']}/content"

    async def get(**headers: str) -> tuple[int, bytes, Any]:
        async with gateway.http.get(path, headers=gateway.headers() | headers) as response:
            return response.status, await response.read(), response.headers

    status, body, headers = await get()
    assert (status, body) == (200, PDF)
    assert headers["Content-Type"] == "application/pdf"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert (await get(Range="bytes=0-7"))[:2] == (206, PDF[:8])
    assert (await get(Range="bytes=2000-"))[:2] == (206, PDF[2000:])
    assert (await get(Range="bytes=-6"))[:2] == (206, PDF[-6:])
    assert (await get(Range=f"bytes={len(PDF)}-"))[0] == 416
    assert (await get(Range="bytes=-0"))[0] == 416
    assert (await get(Range="bytes=9-2"))[:2] == (200, PDF)
    assert (await get(Range="lines=1-2"))[:2] == (200, PDF)
    assert (await get(**{"If-None-Match": headers["ETag"]}))[0] == 304


async def test_documents_are_listed_newest_first_in_pages_and_filtered(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.upload(PDF + bytes([number]), title=f"Report {number}")

    async def page(**query: str) -> Any:
        async with gateway.http.get("/v1/files", params=query, headers=gateway.headers()) as response:
            assert response.status == 200
            return await response.json()

    first = await page(limit="2")
    second = await page(limit="2", cursor=first["next_cursor"])
    third = await page(limit="2", cursor=second["next_cursor"])
    titles = [item["title"] for shown in (first, second, third) for item in shown["items"]]
    assert titles == [f"Report {number}" for number in (4, 3, 2, 1, 0)]
    assert third["next_cursor"] is None
    assert [item["title"] for item in (await page(q="report 3"))["items"]] == ["Report 3"]
    assert (await page(status="ready"))["items"] == []
    bad = await gateway.call("GET", "/v1/files", params={"cursor": "nonsense"}, headers=gateway.headers())
    assert (bad.status, (await bad.json())["code"]) == (422, "invalid_cursor")


async def test_deletion_is_immediate_and_complete(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    path = f"/v1/files/{document['id']}"

    deleted = await gateway.call("DELETE", path, headers=gateway.headers())
    receipt = await deleted.json()
    gone = await gateway.call("GET", path, headers=gateway.headers())
    twice = await gateway.call("DELETE", path, headers=gateway.headers())
    again = await gateway.upload()

    assert deleted.status == 200
    assert (receipt["id"], receipt["chunks_deleted"]) == (document["id"], 0)
    assert (gone.status, twice.status) == (404, 404)
    events = "SELECT count(*) FROM knowledge.outbox WHERE type = 'document.deleted.v1'"
    assert await gateway.fetchval(events) == 1
    assert again.status == 202
    assert (await again.json())["id"] != document["id"]
    assert len(gateway.stored()) == 1


async def test_only_a_failed_document_can_be_retried(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    path = f"/v1/files/{document['id']}/retry"
    early = await gateway.call("POST", path, headers=gateway.headers())
    await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
    retried = await gateway.call("POST", path, headers=gateway.headers())

    assert (early.status, (await early.json())["code"]) == (409, "document_not_failed")
    assert (retried.status, (await retried.json())["status"]) == (202, "queued")
    assert await gateway.fetchval("SELECT count(*) FROM knowledge.outbox WHERE type = 'document.uploaded.v1'") == 2


async def test_who_may_not_delete_a_document_may_not_have_it_processed_again_at_its_owners_cost(
    gateway: Gateway,
) -> None:
    document = await (await gateway.upload()).json()
    await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
    path = f"/v1/files/{document['id']}/retry"

    other = await gateway.call("POST", path, headers=gateway.mint.headers(user_id=uuid.uuid4(), role="member"))
    own = await gateway.call("POST", path, headers=gateway.headers(role="member"))

    assert (other.status, (await other.json())["code"]) == (403, "not_allowed")
    assert own.status == 202


async def test_a_document_is_not_tried_again_without_end(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    answers = []
    for _ in range(6):
        await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
        answers.append(await gateway.call("POST", f"/v1/files/{document['id']}/retry", headers=gateway.headers()))

    assert [answer.status for answer in answers] == [202] * 5 + [429]
    assert (await answers[-1].json())["code"] == "too_many_retries"


async def test_another_tenant_sees_nothing(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    stranger = gateway.mint.headers(tenant_id=2)
    path = f"/v1/files/{document['id']}"
    statuses = [
        (await gateway.call(method, url, headers=stranger)).status
        for method, url in [
            ("GET", path),
            ("GET", f"{path}/content"),
            ("GET", f"{path}/events"),
            ("POST", f"{path}/retry"),
            ("DELETE", path),
        ]
    ]
    listed = await (await gateway.call("GET", "/v1/files", headers=stranger)).json()
    theirs = await gateway.upload(headers=stranger)

    assert statuses == [404] * 5
    assert listed["items"] == []
    assert theirs.status == 202
    assert (await theirs.json())["id"] != document["id"]
