"""Exports at the gateway: whoever may ask for an archive may fetch it, and nobody else; it is written down."""

from __future__ import annotations

import asyncio
import os
import uuid
from typing import Any

import aiohttp
import orjson
import pytest
from services.gateway.tests.conftest import Gateway
from services.gateway.tests.test_collections import Person

from docuchat_common.contracts import users
from docuchat_common.ids import TenantId
from docuchat_gateway.exports.service import MOST_EXPORTS
from docuchat_testkit.eventually import eventually

TENANT = "/v1/tenant/export"
ARCHIVE = b"PK the archive"
LARGE = 64 * 2**20
"""More than sockets hold on their way."""


def path_of(user: uuid.UUID) -> str:
    return f"/v1/users/{user}/export"


async def make(gateway: Gateway, export_id: str) -> None:
    """As a worker would."""
    key = f"tenants/1/exports/{export_id}/1.zip"
    await asyncio.to_thread((gateway.blobs / key).parent.mkdir, parents=True)
    await asyncio.to_thread((gateway.blobs / key).write_bytes, ARCHIVE)
    made = "UPDATE knowledge.exports SET state = 'ready', blob_key = $2, size_bytes = $3 WHERE id = $1::uuid"
    await gateway.fetchval(made, export_id, key, len(ARCHIVE))


async def events(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    async with gateway.database.connect() as connection:
        rows = await connection.fetch("SELECT body FROM testkit.published ORDER BY id")
    bodies = [orjson.loads(row["body"]) for row in rows]
    return [body["data"] for body in bodies if body["type"] == kind]


async def test_an_owner_asks_once_and_fetches_what_was_made(gateway: Gateway) -> None:
    owner, key = Person(gateway, "owner"), {"Idempotency-Key": "once"}
    status, asked = await owner.call("POST", TENANT, **key)
    assert (status, asked["state"], asked["user_id"]) == (202, "queued", None)
    assert await owner.call("POST", TENANT, **key) == (202, asked)
    status, running = await owner.call("POST", TENANT)
    assert (status, running["code"], running["export_id"]) == (409, "export_running", asked["id"])
    path = f"/v1/exports/{asked['id']}"
    assert (await owner.call("GET", f"{path}/archive"))[1]["code"] == "export_not_ready"
    await make(gateway, asked["id"])
    assert (await owner.call("GET", path))[1] | {"state": "queued", "size_bytes": None} == asked
    fetched = await gateway.call("GET", f"{path}/archive", headers=owner.headers)
    content = (await fetched.text()).encode()
    assert (fetched.status, content, fetched.content_type) == (200, ARCHIVE, "application/zip")
    assert asked["id"] in fetched.headers["Content-Disposition"]
    acts = [(act["action"], act["subject_id"]) for act in await events(gateway, "audit.recorded.v1")]
    assert acts == [("tenant.export", str(owner.id)), ("export.fetch", str(owner.id))]
    (requested,) = await events(gateway, "export.requested.v1")
    assert requested["export_id"] == asked["id"]
    await gateway.fetchval("UPDATE knowledge.exports SET expires_at = now()")
    for expired in (path, f"{path}/archive"):
        assert (await owner.call("GET", expired))[1]["code"] == "export_not_found"
    assert await owner.listed("/v1/exports") == set()


async def test_each_sees_the_exports_that_each_may_ask_for(gateway: Gateway) -> None:
    owner, admin, eve, bob = (Person(gateway, role) for role in ("owner", "admin", "member", "viewer"))
    key = Person(gateway, sub_type="key", scope="data.export", user=str(eve.id))
    gateway.mint.users.add(users.path_of(TenantId(1), bob.id))
    made = {
        "tenant": (await owner.call("POST", TENANT))[1]["id"],
        "eve": (await eve.call("POST", path_of(eve.id)))[1]["id"],
        "bob": (await admin.call("POST", path_of(bob.id)))[1]["id"],
    }
    for export_id in made.values():
        await make(gateway, export_id)
    for person, seen in (
        (owner, {"tenant", "bob"}),  # what a person asks for is the person's, with the chats in it
        (admin, {"bob"}),
        (eve, {"eve"}),
        (key, {"eve"}),
        (bob, {"bob"}),
    ):
        assert await person.listed("/v1/exports") == {made[name] for name in seen}
        for name, export_id in made.items():
            for path in (f"/v1/exports/{export_id}", f"/v1/exports/{export_id}/archive"):
                response = await gateway.call("GET", path, headers=person.headers)
                assert response.status == (200 if name in seen else 404), (name, path)
    refused = await eve.call("POST", path_of(bob.id))
    assert (refused[0], refused[1]["code"]) == (404, "person_not_found")
    assert (await admin.call("POST", TENANT))[1]["code"] == "not_allowed"


async def test_me_is_who_asks_and_a_key_of_the_tenants_is_nobody(gateway: Gateway) -> None:
    eve = Person(gateway)
    key = Person(gateway, sub_type="key", scope="data.export", user=str(eve.id))
    service = Person(gateway, "owner", sub_type="key", scope="data.export tenant.own")
    path = "/v1/users/me/export"
    status, asked = await eve.call("POST", path)
    assert (status, asked["user_id"]) == (202, str(eve.id))
    assert (await key.call("POST", path))[1]["export_id"] == asked["id"], "one is made at a time"
    assert (await service.call("POST", path))[1]["code"] == "person_not_found"
    status, refused = await eve.call("POST", "/v1/users/eve/export")
    assert (status, refused["errors"][0]["problem"]) == (422, "must be the id of a user of the tenant, or `me`")


async def test_nobody_is_exported_who_is_no_user_of_the_tenant(gateway: Gateway) -> None:
    admin, stranger = Person(gateway, "admin"), uuid.uuid4()
    gateway.mint.users.add(users.path_of(TenantId(2), stranger))
    for nobody in (stranger, uuid.uuid4()):
        status, refused = await admin.call("POST", path_of(nobody))
        assert (status, refused["code"]) == (404, "person_not_found")
    assert await admin.listed("/v1/exports") == set()
    assert (await admin.call("POST", path_of(admin.id)))[0] == 202, "oneself, whatever auth says"


async def test_a_suspended_tenant_takes_its_data_along_and_does_nothing_else(gateway: Gateway) -> None:
    owner = Person(gateway, "owner")
    gateway.mint.take_back("tenant", 1, state="suspended")

    async def is_known() -> bool:
        return (await owner.upload())[0] == 403

    await eventually(is_known)
    assert (await owner.call("POST", TENANT))[0] == 202
    assert (await owner.call("POST", path_of(owner.id)))[0] == 202


async def test_a_kind_of_archive_is_made_so_often_a_day_and_no_more(gateway: Gateway) -> None:
    admin, eve = Person(gateway, "admin"), Person(gateway)
    gateway.mint.users.add(users.path_of(TenantId(1), eve.id))
    for person in (eve, admin):
        for _ in range(MOST_EXPORTS.amount):
            status, asked = await person.call("POST", path_of(eve.id))
            assert status == 202
            assert (await person.call("POST", path_of(eve.id)))[0] == 409, "which is not counted"
            await make(gateway, asked["id"])
        status, refused = await person.call("POST", path_of(eve.id))
        assert (status, refused["code"]) == (429, "too_many_exports")
    unfinished = "SELECT count(*) FROM knowledge.exports WHERE state = 'queued'"
    assert await gateway.fetchval(unfinished) == 0


async def test_an_archive_that_a_persons_key_asked_for_is_the_persons_own(gateway: Gateway) -> None:
    eve, admin = Person(gateway), Person(gateway, "admin")
    key = Person(gateway, sub_type="key", scope="data.export", user=str(eve.id))
    status, asked = await key.call("POST", path_of(eve.id))
    assert (status, asked["requested_by"]) == (202, str(eve.id))
    assert await eve.listed("/v1/exports") == {asked["id"]} and await admin.listed("/v1/exports") == set()
    assert (await admin.call("GET", f"/v1/exports/{asked['id']}"))[0] == 404


async def test_a_fetch_is_cut_when_who_fetches_may_go_on_no_more(gateway: Gateway) -> None:
    eve = Person(gateway)
    _, asked = await eve.call("POST", path_of(eve.id))
    path = f"/v1/exports/{asked['id']}"
    await make(gateway, asked["id"])
    (archive,) = (gateway.blobs / "tenants/1/exports" / asked["id"]).iterdir()
    await asyncio.to_thread(os.truncate, archive, LARGE)
    async with gateway.http.get(f"{path}/archive", headers=eve.headers) as response:
        assert (response.status, response.content_length) == (200, LARGE)
        gateway.mint.take_back("user", eve.id, state="changed", version=1)

        async def is_known() -> bool:
            return (await eve.call("GET", path))[0] == 401

        await eventually(is_known)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
