"""People, groups, collections, keys and the audit log: as commands and as calls."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from docuchat_client import AsyncDocuChat, DocuChat, MemoryCredentials, NotFound
from docuchat_client.cli import access, app, auditing
from docuchat_client.rendering import moment
from docuchat_common.contracts.permissions import PERMISSIONS, Role

from .conftest import NOW, USER, Command, Service, problem, token

ANN, BEN, GROUP, COLLECTION, KEY, SESSION = (str(uuid.UUID(int=number)) for number in range(10, 16))
MEMBERS = [
    {"id": ANN, "email": "ann@example.com", "role": "owner", "is_active": True, "created_at": NOW},
    {"id": BEN, "email": None, "username": "ben", "role": "member", "is_active": True, "created_at": NOW},
]
LEGAL = {"id": GROUP, "name": "Legal", "members": 1, "created_at": NOW}
PAPERS = {
    "id": COLLECTION, "name": "Papers", "visibility": "restricted", "is_default": False, "access": "manage",
    "documents": 2, "created_by": ANN, "created_at": NOW,
}  # fmt: skip
NIGHTLY = {
    "id": KEY, "prefix": "dck_1f", "name": "nightly", "scopes": ["chats.use", "documents.read"], "addresses": [],
    "expires_at": None, "user_id": ANN, "role": None, "created_by": ANN, "created_at": NOW, "secrets": [],
}  # fmt: skip


@pytest.fixture
def tenant(service: Service) -> list[tuple[str, str, Any]]:
    """A service with people; what was changed there."""
    changes: list[tuple[str, str, Any]] = []

    async def users(request: Request) -> Response:
        wanted = request.query_params.get("email")
        return JSONResponse({"items": [one for one in MEMBERS if wanted in (None, one["email"])]})

    def changing(method: str, path: str, answer: Any, status: int = 200) -> None:
        async def change(request: Request) -> Response:
            raw = await request.body()
            changes.append(
                (method, path + (f"?{request.url.query}" if request.url.query else ""), raw and json.loads(raw))
            )
            return Response(status_code=204) if answer is None else JSONResponse(answer, status)

        service.on(method, path, change)

    service.on("GET", "/v1/users", users)
    service.on("GET", "/v1/groups", JSONResponse({"items": [LEGAL]}))
    service.on("GET", "/v1/collections", JSONResponse({"items": [PAPERS]}))
    service.on("GET", "/v1/api-keys", JSONResponse({"items": [NIGHTLY]}))
    changing("PATCH", f"/v1/users/{BEN}", MEMBERS[1] | {"role": "viewer"})
    changing("DELETE", f"/v1/users/{BEN}", None)
    changing("PUT", f"/v1/groups/{GROUP}/members/{BEN}", None)
    changing(
        "PUT", f"/v1/collections/{COLLECTION}/members/{GROUP}", {"id": GROUP, "access": "write", "created_at": NOW}
    )
    changing("POST", "/v1/api-keys", {**NIGHTLY, "secret": "dck_1f_secret"}, 201)
    older = {"prefix": "dck_1f", "created_at": NOW, "ends_at": NOW}
    changing("POST", f"/v1/api-keys/{KEY}/rotate", {**NIGHTLY, "secret": "dck_1f_other", "secrets": [older]}, 201)
    changing("DELETE", f"/v1/sessions/{SESSION}", None)
    return changes


async def test_people_are_named_by_address_name_or_id(docuchat: Command, tenant: list[Any]) -> None:
    listed = await docuchat("users", "list")
    assert listed.out == f"ann@example.com\t\t\towner\tyes\t\t{ANN}\n\tben\t\tmember\tyes\t\t{BEN}\n"
    assert json.loads((await docuchat("users", "list", "--json")).out)[0]["email"] == "ann@example.com"
    assert (await docuchat("users", "set-role", "ben", "viewer")).out == "ben is viewer.\n"
    assert (await docuchat("users", "deactivate", BEN, "--yes")).code == 0
    assert (await docuchat("users", "deactivate", "ben")).code == 1  # nobody agreed
    assert (await docuchat("users", "remove", "ben", "--hand-over-to", "ann@example.com", "-y")).code == 0
    assert (await docuchat("groups", "add", "legal", "ben")).out == "ben is in Legal.\n"
    assert tenant == [
        ("PATCH", f"/v1/users/{BEN}", {"role": "viewer"}),
        ("PATCH", f"/v1/users/{BEN}", {"active": False}),
        ("DELETE", f"/v1/users/{BEN}?hand_over_to={ANN}", b""),
        ("PUT", f"/v1/groups/{GROUP}/members/{BEN}", b""),
    ]
    for kind, named in (("users", "eve"), ("groups", "Sales"), ("collections", "Post")):
        command = {"users": "deactivate", "groups": "delete", "collections": "delete"}[kind]
        unknown = await docuchat(kind, command, named, "--yes")
        assert unknown.code == 4 and f"`docuchat {kind} list` shows them" in unknown.err


async def test_a_collection_is_opened_to_one_of_three(docuchat: Command, tenant: list[Any]) -> None:
    done = await docuchat("collections", "members", "add", "papers", "--group", "Legal", "--access", "write")
    assert (done.code, done.out) == (0, "Legal has write in Papers.\n"), done.err
    for wrong in ((), ("--group", "Legal", "--user", "ben")):
        assert (await docuchat("collections", "members", "add", "papers", *wrong)).code == 2
    assert tenant == [("PUT", f"/v1/collections/{COLLECTION}/members/{GROUP}", {"access": "write"})]


async def test_a_secret_is_all_that_a_script_reads(service: Service, docuchat: Command, tenant: list[Any]) -> None:
    made = await docuchat("keys", "create", "nightly", "--scope", "chats.use", "--expires", "2030-01-02", "--service")
    assert (made.code, made.out) == (0, "dck_1f_secret\n") and "shown once" in made.err
    rotation = await docuchat("keys", "rotate", "nightly", "--overlap", "60")
    assert rotation.out == "dck_1f_other\n" and "The older secret works until 2026-11-" in rotation.err
    for wrong in ("30", "soon"):
        refused = await docuchat("keys", "create", "x", "--scope", "chats.use", "--expires", wrong)
        assert refused.code == 2 and "2026-12-31" in refused.err and "from now" in refused.err
    (_, _, created), (_, _, rotated) = tenant
    assert created["expires_at"].startswith("2030-01-02T00:00:00") and created["service"] is True
    assert rotated == {"overlap_seconds": 60}
    assert len({headers["idempotency-key"] for headers in service.headers if "idempotency-key" in headers}) == 2


async def test_a_key_in_the_environment_is_the_credential(service: Service, docuchat: Command) -> None:
    key = "dck_0_secret"
    service.good_tokens = {key}
    service.on("GET", "/v1/users", JSONResponse({"items": []}))
    docuchat.environment["DOCUCHAT_API_KEY"] = key
    assert (await docuchat("users", "list")).code == 0
    service.good_tokens = set()
    assert (await docuchat("users", "list")).code == 3
    assert {headers["authorization"] for headers in service.headers} == {f"Bearer {key}"}
    assert service.count("POST", "/v1/auth/refresh") == 0


async def test_the_audit_log_is_narrowed_and_read_as_csv(
    service: Service, docuchat: Command, tenant: list[Any]
) -> None:
    asked: list[dict[str, str]] = []
    entry = {"seq": 7, "id": KEY, "at": NOW, "actor_type": "user", "actor_id": ANN, "action": "group.create"}
    entry |= {"object_type": "group", "object_id": GROUP, "result": "done"}

    async def log(request: Request) -> Response:
        asked.append(dict(request.query_params))
        if "text/csv" in request.headers["accept"]:
            return Response("seq,id\r\n7,x\r\n", media_type="text/csv")
        return JSONResponse({"items": [entry], "next_cursor": "n"})

    service.on("GET", "/v1/audit", log)
    shown = await docuchat("audit", "--actor", "ann@example.com", "--action", "group.create", "--limit", "5")
    assert shown.out.startswith("7\t") and f"user\t{ANN}\tgroup.create\tgroup\t{GROUP}\tdone" in shown.out
    assert "--csv" in shown.err
    assert (await docuchat("audit", "--csv", "--object", "group")).out == "seq,id\n7,x\n"
    assert asked == [{"actor": ANN, "action": "group.create", "limit": "5"}, {"object": "group"}]
    assert (await docuchat("audit", "--from", "2d")).code == 0
    assert timedelta(days=2) <= datetime.now(UTC) - datetime.fromisoformat(asked[-1]["from"]) < timedelta(days=3)
    assert "ago" in (await docuchat("audit", "--from", "yesterday")).err


async def test_an_audit_log_is_shown_with_the_names_of_people_and_keys(
    service: Service, client: AsyncDocuChat, tenant: list[Any]
) -> None:
    entry = {"actor_type": "user", "actor_id": ANN, "object_type": "group", "object_id": GROUP}
    assert await auditing._names(client, [entry]) == {ANN: "ann@example.com"}
    assert service.count("GET", "/v1/api-keys") == 0
    by_key = entry | {"actor_type": "key", "actor_id": KEY, "object_type": "user", "object_id": BEN}
    assert await auditing._names(client, [by_key]) == {BEN: "ben", KEY: "key nightly"}


async def test_sessions_are_ended_one_or_all_others(service: Service, docuchat: Command, tenant: list[Any]) -> None:
    service.on("DELETE", "/v1/sessions", Response(status_code=204))
    kept = {"id": SESSION, "device": "x", "address": "::1", "created_at": NOW, "last_used_at": NOW, "expires_at": NOW}
    service.on("GET", "/v1/sessions", JSONResponse({"items": [kept, kept | {"id": KEY}]}))
    assert (await docuchat("sessions", "end", SESSION)).code == 0
    assert (await docuchat("sessions", "end", f"…{SESSION[-8:]}")).code == 0
    for wrong in ("nonsense", "00"):
        refused = await docuchat("sessions", "end", wrong)
        assert refused.code == 4 and "`docuchat sessions list` shows them" in refused.err
    assert (await docuchat("sessions", "end", "--others")).code == 0
    assert [(await docuchat("sessions", "end", *both)).code for both in ((), (SESSION, "--others"))] == [2, 2]
    assert service.count("DELETE", "/v1/sessions") == 1 and len(tenant) == 2


async def test_an_invitation_is_made_and_accepted_with_the_link_or_the_code(
    service: Service, docuchat: Command
) -> None:
    invitation = {"id": KEY, "email": "eve@example.com", "role": "viewer", "invited_by": ANN}
    invitation |= {"created_at": NOW, "expires_at": "2026-11-27T12:00:00Z"}
    service.on("POST", "/v1/invitations", JSONResponse(invitation, 201))
    service.open_paths.add("/v1/invitations/accept")
    access, bodies = token("eve"), []
    service.good_tokens.add(access)
    service.on("GET", "/v1/users/me", JSONResponse(USER | {"email": "eve@example.com"}))

    async def accept(request: Request) -> Response:
        bodies.append(await request.json())
        return JSONResponse({"access_token": access, "refresh_token": "r", "expires_in": 60})

    service.on("POST", "/v1/invitations/accept", accept)
    made = await docuchat("invite", "eve@example.com", "--role", "viewer")
    until = moment(datetime(2026, 11, 27, 12, tzinfo=UTC))
    assert made.out == f"eve@example.com is invited as viewer, until {until}.\n" and "`make run`" in made.err
    docuchat.environment |= {"DOCUCHAT_PASSWORD": "seven purple harbours", "DOCUCHAT_SERVER": service.url}
    link = await docuchat("invitations", "accept", "http://localhost:8000/invitation#token=dci_1_x", "--name", "Eve")
    code = await docuchat("invitations", "accept", "--no-password", text="dci_1_y\n")
    assert service.count("POST", "/v1/auth/logout") == 2  # of the sign-in that was kept before each
    assert (link.code, code.code) == (0, 0) and "Signed in as eve@example.com" in link.out
    assert bodies == [{"token": "dci_1_x", "name": "Eve", "password": "seven purple harbours"}, {"token": "dci_1_y"}]
    assert json.loads((docuchat.folder / "credentials.json").read_text())["access_token"] == access


async def test_who_has_a_second_factor_is_asked_for_its_code(service: Service, signed_out: Command) -> None:
    access, bodies = token("good"), []
    service.good_tokens.add(access)
    service.on("GET", "/v1/users/me", JSONResponse(USER))

    async def login(request: Request) -> Response:
        bodies.append(await request.json())
        if "otp" not in bodies[-1]:
            return problem(401, "otp_required", "Send the code of the authenticator as `otp`.")
        return JSONResponse({"access_token": access, "refresh_token": "r"})

    service.on("POST", "/v1/auth/login", login)
    signed_out.environment |= {"DOCUCHAT_PASSWORD": "seven purple harbours", "DOCUCHAT_SERVER": service.url}
    done = await signed_out("login", "--password", "--email", "a@example.com", text="123456\n")
    assert done.code == 0, done.err
    assert [body.get("otp") for body in bodies] == [None, "123456"]
    assert "x-tenant-id" not in service.headers[0]


async def test_who_is_in_several_tenants_is_told_them(service: Service, signed_out: Command) -> None:
    homes = [{"slug": "acme", "name": "Acme"}, {"slug": "demo", "name": "Demo"}]
    refusal = problem(409, "choose_tenant", "There is an account in each of `tenants`.", tenants=homes)
    service.on("POST", "/v1/auth/login", refusal)
    signed_out.environment |= {"DOCUCHAT_PASSWORD": "seven purple harbours", "DOCUCHAT_SERVER": service.url}
    done = await signed_out("login", "--password", "--email", "a@example.com")
    assert done.code == 1 and "give --tenant: acme, demo" in done.err


async def test_a_password_is_reset_with_a_mailed_code(service: Service, signed_out: Command) -> None:
    bodies = []

    async def reset(request: Request) -> Response:
        bodies.append(await request.json())
        return Response(status_code=204)

    sent = {"status": "sent", "expires_in": 600, "challenge": "c" * 32}
    service.on("POST", "/v1/auth/password/forgot", JSONResponse(sent, 202))
    service.on("POST", "/v1/auth/password/reset", reset)
    signed_out.environment |= {"DOCUCHAT_NEW_PASSWORD": "another long secret", "DOCUCHAT_SERVER": service.url}
    done = await signed_out("reset-password", "--email", "a@example.com", text="123456\n")
    assert done.code == 0, done.err
    wanted = {"email": "a@example.com", "code": "123456", "password": "another long secret", "challenge": "c" * 32}
    assert bodies == [wanted]


async def test_lists_are_read_to_their_end_and_synchronously_too(
    service: Service, client: AsyncDocuChat, store: MemoryCredentials
) -> None:
    async def page(request: Request) -> Response:
        first = "cursor" not in request.query_params
        return JSONResponse({"items": [LEGAL], "next_cursor": "next" if first else None})

    service.on("GET", "/v1/groups", page)
    assert [group.name async for group in client.groups()] == ["Legal", "Legal"]
    with pytest.raises(NotFound, match="no group 'Sales'"):
        await client.find_group("Sales")
    log = io.BytesIO()
    service.on("GET", "/v1/audit", Response("seq\r\n1\r\n", media_type="text/csv"))
    assert await client.audit_csv(log, {"action": "group.create"}) == len(log.getvalue()) == 8

    def use() -> list[str]:
        with DocuChat(service.url, credentials=store) as blocking:
            return [group.name for group in blocking.groups()]

    assert await asyncio.to_thread(use) == ["Legal", "Legal"]


def test_every_scope_is_named_where_keys_are_made() -> None:
    assert {scope.strip() for scope in access._SCOPES.split(",")} == PERMISSIONS[Role.OWNER]


def test_every_group_of_commands_is_on_the_clients_page() -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text()
    assert [group.name for group in app.registered_groups if f"docuchat {group.name} " not in page] == []


RECEIPT = {
    "user_id": BEN, "begun_at": NOW, "finished_at": None, "waiting_for": ["chat"],
    "parts": [{"service": "auth", "erased_at": NOW, "erased": {"users": 1}, "kept": {"revisions": "tokens"}}],
}  # fmt: skip


async def test_a_person_is_erased_and_the_receipt_is_shown(
    service: Service, docuchat: Command, tenant: list[Any]
) -> None:
    asked: list[tuple[str, str]] = []

    async def erase(request: Request) -> Response:
        asked.append((request.url.query, request.headers["idempotency-key"]))
        return JSONResponse(RECEIPT, 202)

    service.on("POST", f"/v1/users/{BEN}/erase", erase)
    service.on("GET", f"/v1/users/{BEN}/receipt", JSONResponse(RECEIPT))
    assert (await docuchat("users", "erase", "ben")).code == 1 and asked == []  # nobody agreed
    done = await docuchat("users", "erase", "ben", "--yes")
    assert done.code == 0 and f"docuchat users receipt {BEN}" in done.out, done.err
    assert (await docuchat("users", "erase", "ben", "--hand-over-to", ANN, "-y")).code == 0
    assert [query for query, _ in asked] == ["", f"hand_over_to={ANN}"]
    shown = await docuchat("users", "receipt", BEN)
    assert shown.out == "auth: 1 users erased\nauth: revisions kept (tokens)\n"
    assert shown.code == 1 and "chat did not say yet" in shown.err
    service.answers.pop(("GET", f"/v1/users/{BEN}/receipt"))
    service.on("GET", f"/v1/users/{BEN}/receipt", JSONResponse(RECEIPT | {"finished_at": NOW, "waiting_for": []}))
    assert (await docuchat("users", "receipt", BEN)).code == 0
    assert json.loads((await docuchat("users", "receipt", BEN, "--json")).out)["finished_at"]
