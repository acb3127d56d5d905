"""The tenant itself and its domains, as commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .conftest import CHAT, DOCUMENT, NOW, Command, Service, problem

DEMO = {
    "id": 1, "customer_id": CHAT, "slug": "demo", "name": "Demo", "signup": "domains", "domains": ["acme.example"],
    "state": "active", "deletes_at": None, "retention": {"chats_days": 90, "documents_days": None}, "created_at": NOW,
}  # fmt: skip
NEXT = {"chats_days": 30, "documents_days": 30}
RECORD = {"type": "TXT", "name": "_docuchat-challenge.acme.example", "value": "docuchat-verification=x"}
DOMAIN = {"id": DOCUMENT, "domain": "acme.example", "record": RECORD, "created_at": NOW, "verified_at": None}


@pytest.fixture
def changes(service: Service) -> list[Any]:
    """What was changed of the tenant."""
    seen: list[Any] = []

    async def change(request: Request) -> Response:
        seen.append(json.loads(await request.body()))
        return JSONResponse(DEMO)

    service.on("PATCH", "/v1/tenant", change)
    service.on("GET", "/v1/tenant", JSONResponse(DEMO))
    return seen


async def test_what_is_given_is_changed_and_none_is_for_ever(docuchat: Command, changes: list[Any]) -> None:
    shown = await docuchat("tenant", "show")
    assert shown.out.splitlines() == [
        "Demo (tenant 1, demo), active",
        "sign-up: domains acme.example",
        "chats are kept 90 days",
        "documents are kept for ever",
    ]
    assert json.loads((await docuchat("tenant", "show", "--json")).out)["slug"] == "demo"
    assert (await docuchat("tenant", "set", "--keep-chats", "none", "--keep-documents", "30")).code == 0
    assert (await docuchat("tenant", "set", "--signup", "domains", "--domain", "acme.example")).code == 0
    assert [(await docuchat("tenant", "set", *wrong)).code for wrong in ((), ("--keep-chats", "long"))] == [2, 2]
    assert changes == [
        {"retention": {"chats_days": None, "documents_days": 30}},
        {"signup": "domains", "domains": ["acme.example"]},
    ]


async def test_what_is_to_be_kept_for_less_time_is_told_with_its_day(service: Service, docuchat: Command) -> None:
    service.on("GET", "/v1/tenant", JSONResponse(DEMO | {"next_retention": NEXT, "retention_changes_at": NOW}))
    planned = (await docuchat("tenant", "show")).out.splitlines()[-2:]
    assert all(line.startswith("from ") and line.endswith(" are kept 30 days") for line in planned), planned


async def test_a_tenant_is_deleted_by_its_name_and_that_is_taken_back(service: Service, docuchat: Command) -> None:
    async def delete(request: Request) -> Response:
        if request.query_params["confirm"] != "demo":
            return problem(422, "slug_mismatch", "That is another tenant's slug.")
        return JSONResponse(DEMO | {"state": "deleting", "deletes_at": NOW}, 202)

    service.on("DELETE", "/v1/tenant", delete)
    service.on("POST", "/v1/tenant/restore", JSONResponse(DEMO))
    service.on("GET", "/v1/tenant", JSONResponse(DEMO | {"deletes_at": NOW}), JSONResponse(DEMO))
    done = await docuchat("tenant", "delete", text="demo\n")
    assert done.code == 0 and "Demo is erased at " in done.out and "tenant restore" in done.out
    assert (await docuchat("tenant", "delete", "--confirm", "other")).code == 1
    assert (await docuchat("tenant", "restore")).out == "Demo stays.\n"
    assert "nobody had asked" in (await docuchat("tenant", "restore")).out


async def test_a_domain_is_proven_by_a_record(service: Service, docuchat: Command) -> None:
    path = f"/v1/domains/{DOCUMENT}"
    service.on("POST", "/v1/domains", JSONResponse(DOMAIN, 201))
    service.on("GET", "/v1/domains", JSONResponse({"items": [DOMAIN | {"verified_at": NOW}]}))
    service.on("POST", f"{path}/verify", JSONResponse(DOMAIN | {"verified_at": NOW}))
    service.on("DELETE", path, Response(status_code=204))
    added = await docuchat("domains", "add", "acme.example")
    assert added.out == f"{RECORD['name']} TXT {RECORD['value']}\n" and "domains verify acme.example" in added.err
    assert (await docuchat("domains", "list")).out.startswith("acme.example\t20")
    assert (await docuchat("domains", "verify", "acme.example")).out == "acme.example is proven.\n"
    assert (await docuchat("domains", "remove", "ACME.example", "--yes")).out == "acme.example is given up.\n"
    assert (await docuchat("domains", "remove", "other.example", "--yes")).code == 4


async def test_an_identity_provider_is_added_changed_and_removed(service: Service, docuchat: Command) -> None:
    provider = {
        "id": DOCUMENT, "name": "Acme", "issuer": "https://login.example.com", "client_id": "us", "active": True,
        "has_client_secret": True, "scopes": ["openid"], "groups_claim": "groups", "links_owners": False,
        "jit": {"enabled": True, "default_role": "viewer", "domains": ["acme.example"]},
        "group_mappings": [{"value": "legal", "group_id": CHAT, "role": None}], "created_at": NOW,
        "redirect_uri": "https://chat.example/callback", "start_url": "https://chat.example/start",
    }  # fmt: skip
    sent: list[Any] = []

    async def take(request: Request) -> Response:
        sent.append(json.loads(await request.body()))
        return JSONResponse(provider, 201 if request.method == "POST" else 200)

    path = f"/v1/identity-providers/{DOCUMENT}"
    service.on("POST", "/v1/identity-providers", take)
    service.on("GET", "/v1/identity-providers", JSONResponse({"items": [provider]}))
    service.on("PATCH", path, take)
    service.on("DELETE", path, Response(status_code=204))
    group = {"id": CHAT, "name": "Legal", "members": 0, "created_at": NOW}
    service.on("GET", "/v1/groups", JSONResponse({"items": [group]}))
    docuchat.environment["DOCUCHAT_CLIENT_SECRET"] = "hush"
    added = await docuchat(
        "identity-providers", "add", "Acme", "--issuer", "https://login.example.com", "--client-id", "us", "--join",
        "--group", "legal=Legal", "--role", "a=b=admin",
    )  # fmt: skip
    assert added.code == 0 and "register there: https://chat.example/callback" in added.out
    assert "people of acme.example join as viewer" in added.out and "hush" not in added.out + added.err
    del docuchat.environment["DOCUCHAT_CLIENT_SECRET"]
    assert (await docuchat("identity-providers", "list")).out.startswith("Acme\thttps://login.example.com\t")
    assert (await docuchat("identity-providers", "change", "acme", "--inactive", "--join-role", "member")).code == 0
    wrong = [await docuchat("identity-providers", "change", "acme", *more) for more in ((), ("--role", "x"))]
    assert [done.code for done in wrong] == [2, 2]
    assert (await docuchat("identity-providers", "remove", "Acme", "--yes")).out == "Acme is removed.\n"
    assert sent == [
        {
            "name": "Acme", "issuer": "https://login.example.com", "client_id": "us", "client_secret": "hush",
            "jit": {"enabled": True},
            "group_mappings": [{"value": "legal", "group_id": CHAT}, {"value": "a=b", "role": "admin"}],
        },
        {"active": False, "jit": {"enabled": True, "default_role": "member", "domains": ["acme.example"]}},
    ]  # fmt: skip
