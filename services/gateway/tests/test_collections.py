"""Collections over HTTP: what one may not see is not found, what one sees but may not do is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway
from services.gateway.tests.test_uploads import replace_uploads

from docuchat_common.http.caller import Caller
from docuchat_testkit.eventually import eventually


class Person:
    """A user of tenant 1, by whose token the gateway is called."""

    def __init__(self, gateway: Gateway, role: str = "member", groups: Sequence[uuid.UUID] = (), **claims: Any) -> None:
        self.gateway, self.id = gateway, uuid.uuid4()
        claims["groups"] = [str(group) for group in groups]
        self.headers = gateway.mint.headers(user_id=self.id, role=role, claims=claims)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        response = await self.gateway.call(method, path, json=body, headers=self.headers | headers)
        return response.status, await response.json() if response.content_type.endswith("json") else None

    async def make(self, name: str = "Board", visibility: str = "restricted") -> str:
        status, body = await self.call("POST", "/v1/collections", {"name": name, "visibility": visibility})
        assert status == 201, body
        return str(body["id"])

    async def upload(self, collection: str | None = None, content: bytes = PDF) -> tuple[int, Any]:
        fields = {} if collection is None else {"collection_id": collection}
        response: aiohttp.ClientResponse = await self.gateway.upload(content, headers=self.headers, **fields)
        return response.status, await response.json()

    async def listed(self, path: str) -> set[str]:
        status, body = await self.call("GET", path)
        assert status == 200, body
        return {item["id"] for item in body["items"]}


async def admit(manager: Person, collection: str, member: uuid.UUID, access: str) -> None:
    path = f"/v1/collections/{collection}/members/{member}"
    assert (await manager.call("PUT", path, {"access": access}))[0] == 200


async def test_an_admin_makes_a_collection_once_and_changes_it(gateway: Gateway) -> None:
    admin = Person(gateway, "admin")
    body = {"name": "Board", "visibility": "restricted"}
    key = {"Idempotency-Key": "once"}
    first = await admin.call("POST", "/v1/collections", body, **key)
    assert first == await admin.call("POST", "/v1/collections", body, **key)
    status, made = first
    assert (status, made["access"], made["documents"], made["is_default"]) == (201, "manage", 0, False)
    assert made["created_by"] == str(admin.id)
    path = f"/v1/collections/{made['id']}"
    assert await admin.call("GET", path) == (200, made)
    changed = {"name": "All", "visibility": "tenant"}
    assert await admin.call("PATCH", path, changed) == (200, made | changed)
    assert await admin.call("PATCH", path, {}) == (200, made | changed)
    assert (await admin.call("POST", "/v1/collections", {"name": "x\u202e"}))[0] == 422
    others = [await admin.make(f"Number {number}") for number in range(3)]
    status, page = await admin.call("GET", "/v1/collections?limit=2")
    assert [item["id"] for item in page["items"]] == others[:0:-1]
    status, rest = await admin.call("GET", f"/v1/collections?limit=2&cursor={page['next_cursor']}")
    assert [item["id"] for item in rest["items"]] == [others[0], made["id"]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("by_group", [False, True])
async def test_what_is_restricted_is_not_found_but_by_its_members(gateway: Gateway, by_group: bool) -> None:
    group = uuid.uuid4()
    admin, stranger = Person(gateway, "admin"), Person(gateway)
    member = Person(gateway, groups=[group] if by_group else [])
    collection = await admin.make()
    status, document = await admin.upload(collection)
    assert (status, document["collection_id"]) == (202, collection)
    paths = [
        ("GET", f"/v1/collections/{collection}", None),
        ("PATCH", f"/v1/collections/{collection}", {"name": "Mine"}),
        ("DELETE", f"/v1/collections/{collection}?documents=delete", None),
        ("GET", f"/v1/collections/{collection}/members", None),
        ("PUT", f"/v1/collections/{collection}/members/{stranger.id}", {"access": "manage"}),
        ("DELETE", f"/v1/collections/{collection}/members/{admin.id}", None),
        ("GET", f"/v1/files/{document['id']}", None),
        ("GET", f"/v1/files/{document['id']}/content", None),
        ("GET", f"/v1/files/{document['id']}/text", None),
        ("GET", f"/v1/files/{document['id']}/events", None),
        ("POST", f"/v1/files/{document['id']}/retry", None),
        ("DELETE", f"/v1/files/{document['id']}", None),
    ]
    member_id = group if by_group else member.id
    for person in (stranger, member):
        assert [(await person.call(*path))[0] for path in paths] == [404] * len(paths)
        assert (await person.upload(collection, PDF + b"1"))[0] == 404
        for path in ("/v1/collections", "/v1/files", f"/v1/files?collection_id={collection}"):
            assert collection not in await person.listed(path)
            assert document["id"] not in await person.listed(path)
        if person is stranger:
            await admit(admin, collection, member_id, "read")
            assert await member.listed(f"/v1/files?collection_id={collection}") == {document["id"]}
            assert (await member.call("GET", f"/v1/collections/{collection}"))[1]["access"] == "read"
            refused = [(await member.call(*path))[0] for path in paths[1:6]] + [(await member.call(*paths[-1]))[0]]
            assert refused == [403] * 6
            assert (await member.upload(collection, PDF + b"1"))[0] == 403
            path = f"/v1/collections/{collection}/members/{member_id}"
            assert (await admin.call("DELETE", path))[0] == 204
            assert (await admin.call("DELETE", path))[1]["code"] == "member_not_found"


async def test_each_access_is_more_than_the_one_before(gateway: Gateway) -> None:
    admin, writer, manager, viewer = (
        Person(gateway, "admin"),
        Person(gateway),
        Person(gateway),
        Person(gateway, "viewer"),
    )
    collection = await admin.make()
    for person, access in ((writer, "write"), (manager, "manage"), (viewer, "manage")):
        await admit(admin, collection, person.id, access)
    status, own = await writer.upload(collection)
    assert status == 202
    assert (await viewer.upload(collection))[0] == 403
    path = f"/v1/collections/{collection}"
    for person, allowed in ((writer, False), (viewer, False), (manager, True)):
        assert (await person.call("GET", path))[0] == 200
        statuses = [
            (await person.call("PATCH", path, {"name": "New"}))[0],
            (await person.call("GET", f"{path}/members"))[0],
            (await person.call("PUT", f"{path}/members/{uuid.uuid4()}", {"access": "read"}))[0],
        ]
        assert statuses == ([200] * 3 if allowed else [403] * 3)
    for person in (writer, manager, viewer):
        assert (await person.call("POST", "/v1/collections", {"name": "x"}))[1]["code"] == "not_allowed"
    members = {str(person.id) for person in (admin, writer, manager, viewer)}
    assert members < await manager.listed(f"{path}/members")
    # a writer deletes own files alone, a manager all of the collection
    _, managers_own = await manager.upload(collection, PDF + b"2")
    assert (await writer.call("DELETE", f"/v1/files/{managers_own['id']}"))[0] == 403
    assert (await viewer.call("DELETE", f"/v1/files/{own['id']}"))[0] == 403
    assert (await manager.call("DELETE", f"/v1/files/{own['id']}"))[0] == 200
    _, own = await writer.upload(collection)
    assert (await writer.call("DELETE", f"/v1/files/{own['id']}"))[0] == 200


async def test_a_collection_goes_with_its_documents_only_when_that_is_said(gateway: Gateway) -> None:
    admin = Person(gateway, "admin")
    collection = await admin.make()
    path = f"/v1/collections/{collection}"
    for number in range(3):
        assert (await admin.upload(collection, PDF + bytes([number])))[0] == 202
    _, other = await admin.upload()
    assert (await admin.call("DELETE", path))[1]["code"] == "collection_not_empty"
    assert (await admin.call("DELETE", f"{path}?documents=keep"))[0] == 422
    assert await admin.call("DELETE", f"{path}?documents=delete") == (200, {"id": collection, "documents_deleted": 3})
    assert (await admin.call("GET", path))[1]["code"] == "collection_not_found"
    assert await admin.listed("/v1/files") == {other["id"]}
    assert len(gateway.stored()) == 1
    for table in ("collections", "collection_members", "documents"):
        assert await gateway.fetchval(f"SELECT count(*) FROM knowledge.{table}") == (0 if "members" in table else 1)
    default = other["collection_id"]
    assert (await admin.call("DELETE", f"/v1/collections/{default}?documents=delete"))[1][
        "code"
    ] == "default_collection"
    restricted = {"visibility": "restricted"}
    assert (await admin.call("PATCH", f"/v1/collections/{default}", restricted))[1]["code"] == "default_collection"
    assert await admin.listed("/v1/files") == {other["id"]}


async def test_each_document_that_goes_is_told_also_when_its_collection_stays(
    gateway: Gateway,
) -> None:
    admin = Person(gateway, "admin")
    collection = await admin.make()
    gone = [(await admin.upload(collection, PDF + bytes([number])))[1]["id"] for number in range(3)]
    arriving = gone.pop()
    entries = """SELECT string_agg(body ->> 'action' || ' ' || (body ->> 'object_id'), ',' ORDER BY id)
        FROM (SELECT id, convert_from(body, 'UTF8')::jsonb -> 'data' AS body FROM knowledge.outbox
              WHERE type = 'audit.recorded.v1') AS told WHERE body ->> 'action' LIKE '%.delete'"""
    async with gateway.database.connect() as connection:
        await connection.execute("UPDATE knowledge.documents SET status = 'receiving' WHERE id = $1", arriving)
        path = f"/v1/collections/{collection}?documents=delete"
        assert (await admin.call("DELETE", path))[1]["code"] == "collection_not_empty"
        told = [f"document.delete {document}" for document in reversed(gone)]
        assert (await gateway.fetchval(entries)).split(",") == told
        await connection.execute("UPDATE knowledge.documents SET status = 'queued' WHERE id = $1", arriving)
    assert (await admin.call("DELETE", path))[0] == 200
    told += [f"document.delete {arriving}", f"collection.delete {collection}"]
    assert (await gateway.fetchval(entries)).split(",") == told


async def test_what_is_left_of_a_deleted_document_does_not_keep_its_collection(gateway: Gateway) -> None:
    """The blob store was away when the document was deleted: the worker's sweep has its tombstone yet."""
    admin = Person(gateway, "admin")
    collection = await admin.make()
    await admin.upload(collection)
    async with gateway.database.connect() as connection:
        await connection.execute("UPDATE knowledge.documents SET deleted_at = now()")
    assert (await admin.call("DELETE", f"/v1/collections/{collection}"))[0] == 200
    assert await gateway.fetchval("SELECT collection_id IS NULL FROM knowledge.documents") is True


async def test_the_same_content_of_two_people_is_two_documents_and_neither_learns_of_the_other(
    gateway: Gateway,
) -> None:
    """Not by the answer, not by what is held for it and not by what is stored."""
    admin, people = Person(gateway, "admin"), [Person(gateway), Person(gateway)]
    collection = await admin.make("Board", "tenant")
    for place in (None, collection):
        answers = []
        for person in people:
            before, held = len(gateway.stored()), len(gateway.behind.holds)
            status, document = await person.upload(place)
            answers.append((status, len(gateway.stored()) - before, len(gateway.behind.holds) - held))
            assert (await person.upload(place))[1]["id"] == document["id"]
            assert document["created_at"] and document["title"] == "document"
        assert answers[0] == answers[1]
        assert answers[0][0] == 202
    # what somebody has in a collection that is hidden from another is no answer to that other either
    hidden = await admin.make()
    assert (await admin.upload(hidden))[0] == 202
    assert (await Person(gateway).upload())[0] == 202
    assert await gateway.fetchval("SELECT count(DISTINCT blob_key) FROM knowledge.documents") == 6


class Meanwhile:
    """Transactions of uploads; before the last of one something happens."""

    def __init__(self, uow: Any, what: Callable[[], Awaitable[object]], before: int) -> None:
        self._uow, self._what, self._before = uow, what, before

    @asynccontextmanager
    async def as_caller(self, caller: Caller) -> AsyncIterator[Any]:
        self._before -= 1
        if self._before == 0:
            await self._what()
        async with self._uow.as_caller(caller) as tx:
            yield tx


@pytest.mark.parametrize(("access", "code"), [(None, "collection_not_found"), ("read", "not_allowed")])
@pytest.mark.parametrize("before", [2, 3])
async def test_an_upload_during_which_its_collection_is_restricted_is_refused_and_leaves_nothing(
    gateway: Gateway, access: str | None, code: str, before: int
) -> None:
    admin, member = Person(gateway, "admin"), Person(gateway)
    collection = await admin.make(visibility="tenant")
    if access is not None:
        await admit(admin, collection, member.id, access)

    async def restrict() -> None:
        assert (await admin.call("PATCH", f"/v1/collections/{collection}", {"visibility": "restricted"}))[0] == 200

    uow = gateway.container.uploads._uow
    replace_uploads(gateway, uow=Meanwhile(uow, restrict, before))
    status, body = await member.upload(collection)
    assert (status, body["code"]) == ({"not_allowed": 403}.get(code, 404), code)
    await eventually(lambda: not gateway.stored())
    assert await gateway.fetchval("SELECT count(*) FROM knowledge.documents WHERE deleted_at IS NULL") == 0


@pytest.mark.parametrize(("access", "code"), [(None, "collection_not_found"), ("read", "not_allowed")])
async def test_an_upload_that_mends_a_document_while_write_access_ends_is_refused_and_harms_nothing(
    gateway: Gateway, access: str | None, code: str
) -> None:
    admin, member = Person(gateway, "admin"), Person(gateway)
    collection = await admin.make()
    await admit(admin, collection, member.id, "write")
    _, document = await member.upload(collection)
    await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")

    async def take_back() -> None:
        path = f"/v1/collections/{collection}/members/{member.id}"
        if access is None:
            assert (await admin.call("DELETE", path))[0] == 204
        else:
            await admit(admin, collection, member.id, access)

    replace_uploads(gateway, uow=Meanwhile(gateway.container.uploads._uow, take_back, 3))
    status, body = await member.upload(collection)
    assert (status, body["code"]) == ({"not_allowed": 403}.get(code, 404), code)
    _, kept = await admin.call("GET", f"/v1/files/{document['id']}")
    assert (kept["status"], kept["error"]["code"]) == ("failed", "encrypted")
    content = await gateway.call("GET", f"/v1/files/{document['id']}/content", headers=admin.headers)
    assert (content.status, len(gateway.stored())) == (200, 1)


async def test_who_may_only_read_any_more_neither_deletes_nor_retries_what_was_the_own(gateway: Gateway) -> None:
    admin, member = Person(gateway, "admin"), Person(gateway)
    collection = await admin.make()
    await admit(admin, collection, member.id, "write")
    _, document = await member.upload(collection)
    await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
    await admit(admin, collection, member.id, "read")
    path = f"/v1/files/{document['id']}"
    for method, place in (("DELETE", path), ("POST", f"{path}/retry")):
        status, body = await member.call(method, place)
        assert (status, body["code"]) == (403, "not_allowed")
    assert (await member.call("GET", path))[0] == 200
    assert (await admin.call("POST", f"{path}/retry"))[0] == 202
    assert (await admin.call("DELETE", path))[0] == 200


async def test_a_service_key_deletes_what_it_uploaded_and_nothing_else(gateway: Gateway) -> None:
    scope = "documents.read documents.add"
    key, other = (Person(gateway, sub_type="key", scope=scope) for _ in range(2))
    user = Person(gateway)
    of_user = Person(gateway, sub_type="key", scope=scope, user=str(user.id))
    _, own = await key.upload()
    _, users = await of_user.upload(content=PDF + b"2")
    for person, document in ((other, own), (of_user, own), (user, own), (key, users), (other, users)):
        assert (await person.call("DELETE", f"/v1/files/{document['id']}"))[1]["code"] == "not_allowed"
    assert (await key.call("DELETE", f"/v1/files/{own['id']}"))[0] == 200
    assert (await user.call("DELETE", f"/v1/files/{users['id']}"))[0] == 200


async def test_a_key_manages_collections_by_the_scope_for_just_that(gateway: Gateway) -> None:
    owner = Person(gateway, "owner")
    collection = await owner.make()
    limited = Person(gateway, "owner", sub_type="key", scope="documents.read documents.add")
    path = f"/v1/collections/{collection}"
    assert (await limited.call("GET", path))[0] == 200
    assert (await limited.call("PATCH", path, {"name": "x"}))[0] == 403
    assert (await limited.call("PUT", f"{path}/members/{limited.id}", {"access": "manage"}))[0] == 403
    whole = Person(gateway, "owner", sub_type="key", scope="documents.read documents.add collections.manage")
    assert (await whole.call("PATCH", path, {"name": "x"}))[0] == 200


async def test_a_progress_stream_ends_when_its_reader_is_no_member_any_more(open_gateway: OpenGateway) -> None:
    async with open_gateway(progress_poll="50ms") as gateway:
        admin, member = Person(gateway, "admin"), Person(gateway)
        collection = await admin.make()
        await admit(admin, collection, member.id, "read")
        _, document = await admin.upload(collection)
        async with gateway.http.get(f"/v1/files/{document['id']}/events", headers=member.headers) as stream:
            assert (await stream.content.readline()).startswith(b"event: progress")
            assert (await admin.call("DELETE", f"/v1/collections/{collection}/members/{member.id}"))[0] == 204
            assert b"document_not_found" in await stream.content.read()


async def test_a_collection_has_so_many_members_also_when_they_come_at_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("docuchat_knowledge.collections.repository.MOST_MEMBERS", 4)
    admin = Person(gateway, "admin")
    collection = await admin.make()  # who makes it is one

    async def put(member: uuid.UUID, access: str = "read") -> tuple[int, Any]:
        return await admin.call("PUT", f"/v1/collections/{collection}/members/{member}", {"access": access})

    members = [uuid.uuid4() for _ in range(8)]
    done = await asyncio.gather(*(put(member) for member in members))
    assert sorted(status for status, _ in done) == [200] * 3 + [409] * 5
    assert {body["code"] for status, body in done if status == 409} == {"too_many_members"}
    there = [member for member, (status, _) in zip(members, done, strict=True) if status == 200]
    assert (await put(there[0], "write"))[0] == 200  # what one has may always change
    assert (await admin.call("DELETE", f"/v1/collections/{collection}/members/{there[0]}"))[0] == 204
    assert (await put(uuid.uuid4()))[0] == 200
