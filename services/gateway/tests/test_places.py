"""Documents of chatbots and files that are attached to messages: where they go, and who sees them."""

from __future__ import annotations

import uuid
from typing import Any

from services.gateway.tests.conftest import PDF, Gateway, OpenGateway

ATTACHMENTS = "/v1/attachments"


def chatbot(gateway: Gateway, tenant: int = 1) -> str:
    chatbot_id = str(uuid.uuid4())
    gateway.behind.chatbots[chatbot_id, str(tenant)] = "Shop"
    return chatbot_id


async def read(gateway: Gateway, path: str, method: str = "GET", **of: Any) -> tuple[int, Any]:
    response = await gateway.call(
        method, path, headers=gateway.mint.headers(**of), json={} if method == "PATCH" else None
    )
    return response.status, await response.json() if response.status != 204 else None


async def test_a_chatbots_documents_go_to_its_own_collection_which_is_made_with_the_first(gateway: Gateway) -> None:
    chatbot_id = chatbot(gateway)
    to, admin = f"/v1/chatbots/{chatbot_id}/documents", gateway.headers(role="admin")
    first = await gateway.upload(headers=admin, to=to, title="Prices", collection_id=str(uuid.uuid4()))
    again = await gateway.upload(headers=admin, to=to)
    second = await gateway.upload(PDF + b"2", headers=admin, to=to)
    assert [r.status for r in (first, again, second)] == [202, 200, 202]
    document = await first.json()
    assert (document["title"], document["collection_id"]) == ("Prices", chatbot_id)

    of_admin = {"role": "admin", "user_id": gateway.user}
    _, page = await read(gateway, f"/v1/files?collection_id={chatbot_id}", **of_admin)
    assert {one["collection_id"] for one in page["items"]} == {chatbot_id}
    assert len(page["items"]) == 2
    _, collection = await read(gateway, f"/v1/collections/{chatbot_id}", **of_admin)
    assert (collection["name"], collection["kind"], collection["visibility"]) == ("Shop", "chatbot", "restricted")
    assert (await read(gateway, f"/v1/collections/{chatbot_id}"))[0] == 404  # a member is not shown it

    keyed = {**admin, "Idempotency-Key": "one"}
    answers = [await gateway.upload(headers=keyed, to=to), await gateway.upload(headers=keyed, to=to)]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    elsewhere = await gateway.upload(headers=keyed, to=f"/v1/chatbots/{chatbot(gateway)}/documents")
    assert (elsewhere.status, (await elsewhere.json())["code"]) == (422, "idempotency_key_reused")


async def test_documents_of_a_chatbot_are_its_managers_alone_and_of_one_that_is_there(gateway: Gateway) -> None:
    there, theirs = chatbot(gateway), chatbot(gateway, tenant=2)
    for role, chatbot_id, expected in (
        ("member", there, (403, "not_allowed")),
        ("admin", theirs, (404, "chatbot_not_found")),
        ("owner", str(uuid.uuid4()), (404, "chatbot_not_found")),
    ):
        response = await gateway.upload(headers=gateway.headers(role=role), to=f"/v1/chatbots/{chatbot_id}/documents")
        assert (response.status, (await response.json())["code"]) == expected
    assert gateway.stored() == []
    assert gateway.behind.holds == {}


async def test_a_chatbots_collection_is_neither_opened_nor_deleted_while_the_chatbot_is_there(gateway: Gateway) -> None:
    chatbot_id = chatbot(gateway)
    admin = gateway.headers(role="admin")
    await gateway.upload(headers=admin, to=f"/v1/chatbots/{chatbot_id}/documents")
    path = f"/v1/collections/{chatbot_id}"
    opened = await gateway.call("PATCH", path, headers=admin, json={"visibility": "tenant"})
    deleted = await gateway.call("DELETE", f"{path}?documents=delete", headers=admin)
    for refused in (opened, deleted):
        assert (refused.status, (await refused.json())["code"]) == (409, "collection_of_chatbot")
    assert (await gateway.call("PATCH", path, headers=admin, json={"name": "Prices"})).status == 200

    gateway.behind.chatbots.clear()  # deleted, and an upload crossed that
    deleted = await gateway.call("DELETE", f"{path}?documents=delete", headers=admin)
    assert (deleted.status, (await deleted.json())["documents_deleted"]) == (200, 1)


async def test_an_attachment_is_its_owners_and_stands_in_no_list(gateway: Gateway) -> None:
    for role in ("viewer", "member", "admin"):
        me = uuid.uuid4()
        response = await gateway.upload(
            PDF + role.encode(), headers=gateway.mint.headers(user_id=me, role=role), to=ATTACHMENTS
        )
        document = await response.json()
        assert (response.status, document["collection_id"]) == (202, str(me))
        own = {"user_id": me, "role": role}
        for path in (response.headers["Location"], f"{response.headers['Location']}/content"):
            got = await gateway.call("GET", path, headers=gateway.mint.headers(**own))
            assert got.status == 200
        assert (await read(gateway, "/v1/files", **own))[1]["items"] == []
        assert [d["id"] for d in (await read(gateway, f"/v1/files?collection_id={me}", **own))[1]["items"]] == [
            document["id"]
        ]
        assert str(me) not in {c["id"] for c in (await read(gateway, "/v1/collections", **own))[1]["items"]}
        for other in ("viewer", "member", "admin", "owner"):
            assert (await read(gateway, response.headers["Location"], role=other))[0] == 404
            assert (await read(gateway, response.headers["Location"], "DELETE", role=other))[0] == 404
            assert (await read(gateway, f"/v1/files?collection_id={me}", role=other))[1]["items"] == []
        assert (await read(gateway, response.headers["Location"], "DELETE", **own))[0] == 200
        assert (await read(gateway, response.headers["Location"], **own))[0] == 404
        if role != "viewer":
            # nothing else is taken in among attachments, whose limits are others
            direct = await gateway.upload(headers=gateway.mint.headers(**own), collection_id=str(me))
            assert (direct.status, (await direct.json())["code"]) == (404, "collection_not_found")


async def test_attachments_have_a_limit_of_their_own_and_the_same_types(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_attachment_size_mb=1) as gateway:
        large = PDF + b"x" * (2 * 2**20)
        assert (await gateway.upload(large)).status == 202
        refused = await gateway.upload(large, to=ATTACHMENTS)
        assert (refused.status, (await refused.json())["max_bytes"]) == (413, 2**20)
        other = await gateway.upload(b"plain text, and no PDF", filename="notes.txt", to=ATTACHMENTS)
        problem = await other.json()
        assert (other.status, problem["code"], problem["accepted"]) == (415, "file_type_refused", ["application/pdf"])
