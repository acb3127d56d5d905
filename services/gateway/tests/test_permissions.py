"""S1: every operation of the OpenAPI document, asked for by each kind of caller, answers as the permissions say."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from services.gateway.tests.conftest import Gateway
from services.gateway.tests.test_surface import PERMISSIONS, READING
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from docuchat_common.contracts.permissions import CHATBOT, VISITOR, Action, Permission, Role
from docuchat_common.contracts.permissions import PERMISSIONS as OF_ROLES
from docuchat_gateway.edge.mcp import PATH as MCP
from docuchat_gateway.edge.standing import READS
from docuchat_gateway.edge.table import TABLE
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import OF_CHATBOTS, PAGE

PASSES = (0, "passes")
Answer = tuple[int, str]
SUSPENDED, DELETING, DELETED = 3, 4, 5
MAY_SIGN_IN = {row.path for row in TABLE if row.may_sign_in}
"""Open to everybody; but a credential that is shown must be good."""
OF_RIGHTS = {"not_allowed", "second_factor_required"}
ENDED = uuid.uuid4()
OUTDATED = uuid.uuid4()
OPERATORS = {"tenant": None, "tenant_slug": None, "role": None, "typ": "operator", "scope": "operator"}


@dataclass(frozen=True)
class Column:
    """A kind of caller: what it sends, and what an operation of a tenant, and one of operators, answers."""

    of_token: dict[str, Any] | None
    of_tenants: Callable[[Action, str], Answer]
    of_operators: Answer = (403, "operator_required")
    more: dict[str, str] | None = None

    def expected(self, permission: Permission, method: str, *, may_sign_in: bool = False) -> Answer:
        match permission:
            case "public" if may_sign_in and (self.of_token or self.more):
                answer = self.of_tenants("chats.follow", method)
                return PASSES if answer[1] in OF_RIGHTS else answer
            case "public":
                return PASSES
            case "operator":
                return self.of_operators
            case action:
                return self.of_tenants(action, method)

    def headers(self, gateway: Gateway) -> dict[str, str]:
        return ({} if self.of_token is None else gateway.mint.headers(**self.of_token)) | (self.more or {})


def always(status: int, code: str) -> Callable[[Action, str], Answer]:
    return lambda *_: (status, code)


def within(allowed: frozenset[Action]) -> Callable[[Action, str], Answer]:
    return lambda action, _: PASSES if action in allowed else (403, "not_allowed")


def of_owner(answer: Callable[[Action, str], Answer]) -> Callable[[Action, str], Answer]:
    """What an owner is answered, who may not do what is for chatbots' programs and visitors alone."""
    return lambda action, method: answer(action, method) if action in OF_ROLES[Role.OWNER] else (403, "not_allowed")


def enrolling(action: Action, _: str) -> Answer:
    """Who must set up a second factor first."""
    return PASSES if action == "account.use" else (403, "second_factor_required")


def elsewhere(action: Action, _: str) -> Answer:
    """A visitor's token on another page than it was made for."""
    return 403, "origin_not_allowed" if action in OF_ROLES[VISITOR] else "not_allowed"


def key(scope: str) -> dict[str, Any]:
    return {"role": "owner", "claims": {"sub_type": "key", "scope": scope}}


def of_chatbot(kind: str, **claims: str) -> dict[str, Any]:
    return {"role": kind, "claims": {"sub_type": kind, "scope": OF_CHATBOTS, **claims}}


def of_visitor() -> dict[str, Any]:
    return of_chatbot("visitor", chatbot=str(uuid.uuid4()), origin=PAGE)


COLUMNS: dict[str, Column] = {
    "no credential": Column(None, always(401, "unauthenticated"), (401, "unauthenticated")),
    "junk": Column(None, always(401, "invalid_token"), (401, "invalid_token"), {"Authorization": "Bearer a.b.c"}),
    "expired": Column({"lifetime_seconds": -60}, always(401, "token_expired"), (401, "token_expired")),
    "other tenant": Column({"role": "owner"}, always(403, "tenant_mismatch"), more={"X-Tenant-ID": "2"}),
    **{role.value: Column({"role": role.value}, within(OF_ROLES[role])) for role in Role},
    "unknown role": Column({"role": "janitor"}, within(frozenset())),
    "operator": Column({"claims": OPERATORS}, always(401, "operator_token"), PASSES),
    "suspended tenant": Column(
        {"role": "owner", "tenant_id": SUSPENDED},
        of_owner(lambda _, method: PASSES if method in READS else (403, "tenant_suspended")),
    ),
    "tenant about to be deleted": Column(
        {"role": "owner", "tenant_id": DELETING},
        of_owner(
            lambda action, method: PASSES if method in READS or action == "tenant.own" else (403, "tenant_deleting")
        ),
    ),
    "deleted tenant": Column({"role": "owner", "tenant_id": DELETED}, always(401, "session_ended")),
    "ended session": Column({"role": "owner", "claims": {"sid": str(ENDED)}}, always(401, "session_ended")),
    "outdated": Column({"role": "owner", "user_id": OUTDATED}, always(401, "token_outdated")),
    "enrolling": Column({"role": "owner", "claims": {"scope": "account.use"}}, of_owner(enrolling)),
    "key without scope": Column(key(""), within(frozenset())),
    "key with a scope": Column(key("documents.read"), within(frozenset({"documents.read", "mcp.use"}))),
    "key of a directory": Column(key("directory.sync identity.manage"), within(frozenset({"directory.sync"}))),
    "chatbot's key": Column(of_chatbot("chatbot", key=str(uuid.uuid4())), within(OF_ROLES[CHATBOT])),
    "visitor": Column(of_visitor(), within(OF_ROLES[VISITOR]), more={"Origin": PAGE}),
    "visitor on another page": Column(of_visitor(), elsewhere, more={"Origin": f"{PAGE}.evil"}),
    "visitor on no page": Column(of_visitor(), elsewhere),
}


@pytest.fixture
async def taken_back(gateway: Gateway) -> Gateway:
    """A gateway that knows what auth has taken back."""
    gateway.mint.take_back("session", ENDED)
    gateway.mint.take_back("user", OUTDATED, state="changed", version=1)
    gateway.mint.take_back("tenant", SUSPENDED, tenant_id=SUSPENDED, state="suspended")
    gateway.mint.take_back("tenant", DELETING, tenant_id=DELETING, state="deleting")
    gateway.mint.take_back("tenant", DELETED, tenant_id=DELETED, state="deleted")
    headers = COLUMNS["ended session"].headers(gateway)

    async def is_known() -> bool:
        return (await gateway.call("GET", "/v1/files", headers=headers)).status == 401

    await eventually(is_known)
    return gateway


async def answer_of(gateway: Gateway, method: str, template: str, headers: dict[str, str]) -> Answer:
    path = "/".join(str(uuid.uuid4()) if part.startswith("{") else part for part in template.split("/"))
    async with gateway.http.request(method, path, headers=headers) as response:
        if response.content_type == "text/event-stream":
            return PASSES  # it would go on
        body = await response.read()
    if response.status not in {401, 403}:
        return PASSES
    told = json.loads(body)
    return response.status, told.get("error", told)["code"]  # at some paths in the words of others


@pytest.mark.parametrize("name", COLUMNS)
async def test_every_operation_answers_each_caller_as_the_table_says(taken_back: Gateway, name: str) -> None:
    wrong = {}
    column = COLUMNS[name]
    headers = column.headers(taken_back)
    taken_back.behind.seen.clear()
    for (template, method), permission in PERMISSIONS.items():
        may_sign_in = template in MAY_SIGN_IN
        expected = column.expected(
            permission, "GET" if (template, method) in READING else method, may_sign_in=may_sign_in
        )
        if template == MCP and "Origin" in headers:
            expected = 403, "origin_refused"  # no page of others is an assistant, whoever is signed in
        got = await answer_of(taken_back, method, template, headers)
        passed_on = bool(taken_back.behind.seen)
        taken_back.behind.seen.clear()
        if got != expected or (passed_on and expected != PASSES):
            wrong[method, template] = (got, expected, passed_on)
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("viewer", None),
        ("unknown role", "not_allowed"),
        ("key without scope", "not_allowed"),
        ("enrolling", "second_factor_required"),
        ("suspended tenant", "tenant_suspended"),
        ("tenant about to be deleted", "tenant_deleting"),
        ("deleted tenant", "session_ended"),
        ("ended session", "session_ended"),
        ("operator", "operator_token"),
        ("chatbot's key", "not_allowed"),
    ],
)
async def test_the_socket_asks_for_the_action_of_chats(taken_back: Gateway, name: str, code: str | None) -> None:
    headers = COLUMNS[name].headers(taken_back)
    async with connect(taken_back.ws_url, additional_headers=headers) as connection:
        with suppress(ConnectionClosed):  # it is refused already
            await connection.send('{"resume": 1}')
        told = json.loads(await connection.recv())
    assert told["code"] == (code or "invalid_frame")
