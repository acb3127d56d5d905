"""Files by OpenAI's own client: taken in as documents, listed, followed, read and deleted; and refused in its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from services.gateway.tests.conftest import PDF, Gateway


@asynccontextmanager
async def client_of(gateway: Gateway, **of_token: Any) -> AsyncIterator[AsyncOpenAI]:
    token = gateway.headers(**of_token)["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(api_key=token, base_url=f"{gateway.url}/v1", max_retries=0, timeout=20) as client:
        yield client


async def end(gateway: Gateway, document_id: str, status: str, detail: str | None = None) -> None:
    async with gateway.database.connect() as connection:
        await connection.execute(
            "UPDATE knowledge.documents SET status = $2, error_code = $3, error_detail = $4 WHERE id = $1",
            document_id,
            status,
            None if detail is None else "unreadable",
            detail,
        )


async def test_a_file_of_their_client_is_a_document_of_ours(gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        made = await client.files.create(file=("report.pdf", PDF), purpose="user_data")
        assert (made.object, made.purpose, made.status, made.bytes) == ("file", "user_data", "uploaded", len(PDF))
        assert (made.filename, made.expires_at) == ("report.pdf", None)
        document_id = made.id.removeprefix("file-")

        ours = await gateway.call("GET", f"/v1/files/{document_id}", headers=gateway.headers())
        document = await ours.json()
        assert (document["id"], document["status"], document["filename"]) == (document_id, "queued", "report.pdf")
        assert (document["object"], document["purpose"], document["bytes"]) == ("file", "user_data", len(PDF))

        assert await client.files.retrieve(made.id) == made
        assert (await client.files.content(made.id)).content == PDF
        assert [file.id async for file in client.files.list()] == [made.id]

        deleted = await client.files.delete(made.id)
        assert deleted.to_dict() == {"id": made.id, "object": "file", "deleted": True}
        with pytest.raises(openai.NotFoundError) as refused:
            await client.files.retrieve(made.id)
        assert (refused.value.code, refused.value.type) == ("document_not_found", "invalid_request_error")
    gone = await gateway.call("GET", f"/v1/files/{document_id}", headers=gateway.headers())
    assert (gone.status, gone.content_type) == (404, "application/problem+json")
    assert not gateway.stored()


@pytest.mark.parametrize(
    ("ended", "told", "detail"), [("ready", "processed", None), ("failed", "error", "The file cannot be read.")]
)
async def test_waiting_for_a_file_ends(gateway: Gateway, ended: str, told: str, detail: str | None) -> None:
    async with client_of(gateway) as client:
        made = await client.files.create(file=("report.pdf", PDF), purpose="assistants")
        await end(gateway, made.id.removeprefix("file-"), ended, detail)
        waited = await client.files.wait_for_processing(made.id, poll_interval=0.01, max_wait_seconds=10)
    assert (waited.status, waited.status_details) == (told, detail)


async def test_lists_are_by_purpose_and_go_on_after_the_last(gateway: Gateway) -> None:
    own = (await (await gateway.upload(PDF + b"own")).json())["id"]
    async with client_of(gateway) as client:
        data = [
            (await client.files.create(file=("a.pdf", PDF + str(n).encode()), purpose="user_data")).id for n in "12"
        ]
        assert [file.id async for file in client.files.list(purpose="user_data")] == data[::-1]
        assert [file.id async for file in client.files.list(purpose="assistants")] == [f"file-{own}"]
        assert [file.id async for file in client.files.list(limit=1)] == [*data[::-1], f"file-{own}"]

        page = await client.files.list(limit=2)
        told = page.to_dict()
        told.pop("data")
        assert told == {"object": "list", "first_id": data[1], "last_id": data[0], "has_more": True}
        last = await client.files.list(limit=2, after=data[0])
        assert ([file.id for file in last.data], last.has_more) == ([f"file-{own}"], False)
        other: Any = "shuffled"
        with pytest.raises(openai.BadRequestError, match="newest first"):
            await client.files.list(order=other)
    plain = await gateway.call("GET", "/v1/files", headers=gateway.headers())
    assert [document["id"] for document in (await plain.json())["items"]] == [
        *(name.removeprefix("file-") for name in data[::-1]),
        own,
    ]
    named = await gateway.call("GET", "/v1/files?purpose=user_data", headers=gateway.headers())
    assert [file["id"] for file in (await named.json())["data"]] == data[::-1]


async def test_the_oldest_come_first_where_that_is_asked_and_pages_go_on(gateway: Gateway) -> None:
    own = f"file-{(await (await gateway.upload(PDF + b'own')).json())['id']}"
    async with client_of(gateway) as client:
        data = [
            (await client.files.create(file=("a.pdf", PDF + str(n).encode()), purpose="user_data")).id for n in "123"
        ]
        for limit in (1, 2, 3, 4, 9):
            assert [file.id async for file in client.files.list(order="asc", limit=limit)] == [own, *data]
            named = client.files.list(order="asc", limit=limit, purpose="user_data")
            assert [file.id async for file in named] == data
        page = (await client.files.list(order="asc", limit=2, after=own)).to_dict()
        assert [file["id"] for file in page.pop("data")] == data[:2]
        assert page == {"object": "list", "first_id": data[0], "last_id": data[1], "has_more": True}
        await client.files.delete(data[0])
        assert [file.id async for file in client.files.list(order="asc", after=data[0])] == data[1:]
        assert (await client.files.list(order="asc", after=data[2])).data == []
    async with client_of(gateway, tenant_id=2) as stranger:
        assert (await stranger.files.list(order="asc")).data == []


@pytest.mark.parametrize("purpose", ["fine-tune", "batch", "vision", "evals"])
async def test_files_for_something_else_are_refused_by_name(gateway: Gateway, purpose: Any) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(openai.BadRequestError, match=purpose) as refused:
            await client.files.create(file=("a.pdf", PDF), purpose=purpose)
        assert (refused.value.code, refused.value.param) == ("purpose_refused", "purpose")
        with pytest.raises(openai.BadRequestError, match=purpose):
            await client.files.list(purpose=purpose)
    assert not gateway.stored()


async def test_refusals_are_in_the_words_of_who_asks(gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.files.create(file=("a.txt", b"no pdf"), purpose="user_data")
        assert refused.value.code == "file_type_refused"
        with pytest.raises(openai.BadRequestError) as refused:
            expiry: Any = {"anchor": "created_at", "seconds": 3600}
            await client.files.create(file=("a.pdf", PDF), purpose="user_data", expires_after=expiry)
        assert (refused.value.code, refused.value.param) == ("file_option_unsupported", "expires_after")
        made = await client.files.create(file=("a.pdf", PDF), purpose="user_data")
        async with client_of(gateway, tenant_id=2) as stranger:
            for call in (stranger.files.retrieve, stranger.files.delete, stranger.files.content):
                with pytest.raises(openai.NotFoundError):
                    await call(made.id)
            assert [file async for file in stranger.files.list()] == []
    # without their client, the form says it
    named = await gateway.upload(PDF, purpose="batch")
    assert (named.status, (await named.json())["error"]["code"]) == (400, "purpose_refused")
    unnamed = await gateway.upload(b"no pdf")
    assert (unnamed.status, (await unnamed.json())["code"]) == (415, "file_type_refused")


async def test_the_same_content_again_is_the_same_file(gateway: Gateway) -> None:
    own = (await (await gateway.upload()).json())["id"]
    again = await gateway.upload(purpose="user_data")
    assert again.status == 200
    # what was there before stays as it is
    file = await again.json()
    assert (file["id"], file["purpose"]) == (f"file-{own}", "assistants")
    key = {"Idempotency-Key": "one"}
    first = await gateway.upload(PDF + b"2", headers=key, purpose="user_data")
    replayed = await gateway.upload(PDF + b"2", headers=key, purpose="user_data")
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert await replayed.json() == await first.json()
