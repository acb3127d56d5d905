"""One document, one authorization matrix: every operation of the public surface."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest
from services.gateway.tests.conftest import Gateway
from services.gateway.tests.repeatable import MAKES_NOTHING_TWICE

from docuchat_common.contracts.permissions import ENROLMENT, Action
from docuchat_common.http.permissions import EXTENSION
from docuchat_common.http.problems import codes_of
from docuchat_gateway.app import create_app
from docuchat_gateway.edge import session
from docuchat_gateway.edge.openapi_document import load_snapshots, merge
from docuchat_gateway.edge.socket import PATH
from docuchat_gateway.edge.table import TABLE
from docuchat_gateway.settings import Settings

DOCUMENT: dict[str, Any] = create_app(Settings.model_construct(frontend_origin="")).openapi()
OPERATIONS = [(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item]

PERMISSIONS = {
    (path, method.upper()): operation.get(EXTENSION)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}

READING = {("/v1/tenant/export", "POST"), ("/v1/users/{user_id}/export", "POST")}
"""Operations that a suspended tenant may do whatever their method says: they change nothing of the tenant's."""

FETCHED = {("/v1/exports/{export_id}/archive", "GET")}
"""Operations that change nothing and are in the audit log all the same: what is kept leaves the house."""

PUBLIC = {
    ("/", "GET"),
    ("/healthz", "GET"),
    ("/livez", "GET"),
    ("/readyz", "GET"),
    ("/.well-known/jwks.json", "GET"),
    ("/.well-known/oauth-protected-resource", "GET"),
    ("/.well-known/oauth-protected-resource/mcp", "GET"),
    ("/v1/public/chatbots/{publishable_id}", "GET"),
    ("/v1/public/chatbots/{publishable_id}/visitors", "POST"),
    ("/v1/shared/{token}", "GET"),
    ("/v1/auth/request-code", "POST"),
    ("/v1/auth/verify-code", "POST"),
    ("/v1/auth/register", "POST"),
    ("/v1/auth/login", "POST"),
    ("/v1/auth/passkeys", "POST"),
    ("/v1/auth/passkeys/options", "POST"),
    ("/v1/auth/token", "POST"),
    ("/v1/auth/password/forgot", "POST"),
    ("/v1/auth/password/reset", "POST"),
    ("/v1/auth/refresh", "POST"),
    ("/v1/auth/logout", "POST"),
    ("/v1/auth/oidc/{tenant}/{provider_id}/start", "GET"),
    ("/v1/auth/oidc/callback/{provider_id}", "GET"),
    ("/v1/auth/oidc/exchange", "POST"),
    ("/v1/invitations/accept", "POST"),
    ("/v1/operator/token", "POST"),
}


ENROLLING = {
    ("/v1/auth/verify-email", "POST"),
    ("/v1/auth/verify-email/request", "POST"),
    ("/v1/users/me", "GET"),
    ("/v1/users/me", "PATCH"),
    ("/v1/users/me/password", "PUT"),
    ("/v1/users/me/second-factor", "GET"),
    ("/v1/users/me/second-factor/totp", "POST"),
    ("/v1/users/me/second-factor/totp", "DELETE"),
    ("/v1/users/me/second-factor/totp/confirm", "POST"),
    ("/v1/users/me/second-factor/recovery-codes", "POST"),
    ("/v1/users/me/passkeys", "GET"),
    ("/v1/users/me/passkeys", "POST"),
    ("/v1/users/me/passkeys/options", "POST"),
    ("/v1/users/me/passkeys/{passkey_id}", "DELETE"),
    ("/v1/users/me/identities", "GET"),
    ("/v1/users/me/identities/{provider_id}", "DELETE"),
    ("/v1/sessions", "GET"),
    ("/v1/sessions", "DELETE"),
    ("/v1/sessions/{session_id}", "DELETE"),
}
"""All that who must set up a second factor first may do: it, and ending sessions; nothing of it shows what is kept."""


WRITES_NO_ENTRY = {
    (
        "/v1/chats/{chat_id}/sessions/{session_id}",
        "PUT",
    ): "a sign of life, each minute: opening is the act",
    ("/v1/events/tickets", "POST"): "it stands for the token that was sent with it, for half a minute",
    ("/v1/auth/request-code", "POST"): "nobody has proven anything yet; it is counted, and the sign-in is the act",
    ("/v1/auth/password/forgot", "POST"): "as above",
    ("/v1/auth/passkeys/options", "POST"): "a challenge changes nothing; what is signed with it is the act",
    ("/v1/users/me/passkeys/options", "POST"): "as above",
    ("/v1/public/chatbots/{publishable_id}/visitors", "POST"): "whoever opens a page would fill the log; what is asked "
    "with the token is the act",
    ("/v1/embeddings", "POST"): "nothing is kept of it but its entry in the ledger",
    ("/v1/auth/verify-email/request", "POST"): "a code is mailed again; what it proves is the act",
}
"""Operations that change something and are in no audit log, and why."""


def test_who_must_set_up_a_second_factor_first_may_do_what_is_named_here_and_nothing_else() -> None:
    assert {operation for operation, action in PERMISSIONS.items() if action in ENROLMENT} == ENROLLING


def test_every_operation_that_changes_something_is_in_the_audit_log() -> None:
    """That each success writes exactly one entry is asserted by the routes themselves, in the tests of all services."""
    names = {
        (path, method.upper()): operation.get("x-audit")
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
    }
    changing = {operation for operation in names if operation[1] != "GET"}
    assert {operation for operation in changing if names[operation] is None} == WRITES_NO_ENTRY.keys()
    assert {operation for operation in names if names[operation] is not None} <= changing | FETCHED
    assert {(path, method) for path, method in names if "x-read" in DOCUMENT["paths"][path][method.lower()]} == READING
    assert {name for name in names.values() if name and not re.fullmatch(r"[a-z_]+\.[a-z_]+", name)} == set()


def test_every_creating_post_takes_an_idempotency_key() -> None:
    without = {
        path
        for path, item in DOCUMENT["paths"].items()
        if "post" in item
        and not any(p["name"] == "Idempotency-Key" and p["in"] == "header" for p in item["post"].get("parameters", []))
    }
    assert without == MAKES_NOTHING_TWICE.keys()
    for path, item in DOCUMENT["paths"].items():
        if "post" in item and path not in without:
            responses = item["post"]["responses"]
            assert "idempotency_key_reused" in codes_of(responses.get("422") or responses["400"]), path


@pytest.mark.parametrize("name", ["refresh_openapi.py", "typescript_types.py"])
def test_the_snapshots_and_the_types_of_web_are_those_of_what_is_served(name: str) -> None:
    script = Path(__file__).parents[1] / "scripts" / name
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_passes_on_all_public_paths_of_the_services_and_only_those() -> None:
    rows = {(row.service, row.path, method) for row in TABLE for method in row.methods}
    served = {
        (service, path, method.upper())
        for service, snapshot in load_snapshots().items()
        for path, item in snapshot["paths"].items()
        for method in item
    }
    assert rows == served
    assert not any("internal" in path for _, path, _ in rows)


def test_every_operation_says_what_it_asks_of_its_caller_and_table_and_service_say_the_same() -> None:
    known = {*get_args(Action), "operator", "public"}
    assert {operation: permission for operation, permission in PERMISSIONS.items() if permission not in known} == {}
    assert {operation for operation, permission in PERMISSIONS.items() if permission == "public"} == PUBLIC
    assert {path for (path, _), permission in PERMISSIONS.items() if permission == "operator"} == {
        path for path, _ in PERMISSIONS if path.startswith("/v1/operator") and path != "/v1/operator/token"
    }
    for row in TABLE:
        assert {PERMISSIONS[row.path, method] for method in row.methods} == {row.action}, row


def test_the_document_has_the_whole_surface_and_no_dangling_reference() -> None:
    assert {path for _, path, _ in ((row.service, row.path, 0) for row in TABLE)} < set(DOCUMENT["paths"])
    assert {"/v1/files", "/v1/files/{document_id}/events", "/healthz", "/"} < set(DOCUMENT["paths"])
    text = str(DOCUMENT)
    for name in DOCUMENT["components"]["schemas"]:
        assert f"#/components/schemas/{name}'" in text
    assert text.count("'$ref'") == sum(
        text.count(f"'$ref': '#/components/{kind}/{name}'")
        for kind, parts in DOCUMENT["components"].items()
        for name in parts
    )


def test_schemas_of_one_name_and_two_contents_stay_apart() -> None:
    def document(path: str, content: str) -> dict[str, Any]:
        reference = {"$ref": "#/components/schemas/View"}
        operation = {"responses": {"200": {"content": {"application/json": {"schema": reference}}}}}
        return {"paths": {path: {"get": operation}}, "components": {"schemas": {"View": {"title": content}}}}

    merged = merge(document("/own", "own"), {"usage": document("/v1/usage", "theirs"), "chat": document("/x", "no")})

    assert set(merged["paths"]) == {"/own", "/v1/usage"}
    assert merged["components"]["schemas"] == {"View": {"title": "own"}, "UsageView": {"title": "theirs"}}
    used = merged["paths"]["/v1/usage"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert used == {"$ref": "#/components/schemas/UsageView"}


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_documentation_needs_no_other_server(gateway: Gateway, page: str) -> None:
    html = await (await gateway.call("GET", page)).text()
    assert "https://" not in html
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css") if page == "/docs" else ("redoc.standalone.js",):
        assert f"/docs/assets/{asset}" in html
        assert (await gateway.call("GET", f"/docs/assets/{asset}")).status == 200


@pytest.mark.parametrize("page", ["/invitation", "/reset-password"])
async def test_a_page_that_a_mail_leads_to_runs_its_own_files_and_nothing_else(gateway: Gateway, page: str) -> None:
    answer = await gateway.call("GET", page)
    html = await answer.text()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', html)
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status == 200 and "'unsafe" not in policy and "script-src 'self'" in policy
    assert set(loaded) == {"/pages/page.css", f"/pages{page}.js"}
    assert not re.search(r"<script[^>]*>[^<]|<style|\son[a-z]+=|style=", html)
    assert [(await gateway.call("GET", path)).status for path in (*loaded, "/pages/page.js")] == [200] * 3
    assert (await gateway.call("GET", "/pages/../settings.py")).status == 404


async def test_the_gateway_says_what_it_is_and_how_it_is(gateway: Gateway) -> None:
    home = await (await gateway.call("GET", "/")).json()
    health = await gateway.call("GET", "/healthz", headers={"X-Tenant-ID": "1"})
    metrics = await gateway.call("GET", "/metrics")
    served = await (await gateway.call("GET", "/openapi.json")).json()

    assert (home["name"], home["links"]["docs"]) == ("DocuChat", "/docs")
    assert (health.status, (await health.json())["status"]) == (200, "ok")
    assert metrics.status == 404  # they are on a port of their own
    assert served["paths"].keys() == DOCUMENT["paths"].keys()


async def test_every_operation_wants_a_valid_token_of_its_tenant(gateway: Gateway) -> None:
    def path_of(template: str) -> str:
        return "/".join(str(uuid.uuid4()) if part.startswith("{") else part for part in template.split("/"))

    mint = gateway.mint
    claims = jwt.decode(mint.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": mint.kid})
    attacks: dict[str, dict[str, str]] = {
        "none": {},
        "garbage": {"Authorization": "Bearer x.y.z"},
        "basic": {"Authorization": "Basic dXNlcjpwYXNz"},
        "expired": mint.headers(lifetime_seconds=-60),
        "issuer": mint.headers(claims={"iss": "somebody"}),
        "audience": mint.headers(claims={"aud": "somebody"}),
        "type": mint.headers(claims={"typ": "refresh"}),
        "no tenant": mint.headers(claims={"tenant": None}),
        "unknown kid": mint.headers(headers={"kid": "unknown"}),
        "unsigned": {"Authorization": f"Bearer {unsigned}"},
        "symmetric": mint.headers(algorithm="HS256", key="k" * 64),
    }
    got = {}
    for template, method in OPERATIONS:
        for name, headers in attacks.items():
            async with gateway.http.request(method, path_of(template), headers=headers) as response:
                got[template, method, name] = response.status
        headers = mint.headers(tenant_id=1) | {"X-Tenant-ID": "2"}
        async with gateway.http.request(method, path_of(template), headers=headers) as response:
            got[template, method, "tenant"] = response.status

    private = {key: status for key, status in got.items() if key[:2] not in PUBLIC}
    assert {key: status for key, status in private.items() if key[2] != "tenant" and status != 401} == {}
    assert {key: status for key, status in private.items() if key[2] == "tenant" and status != 403} == {}
    assert set(OPERATIONS) > PUBLIC
    answered = {request.path.rpartition("/")[0] for request in gateway.behind.seen}
    assert answered <= {"/v1/shared", "/v1/public/chatbots"}, "who has a link, or shows a chatbot, needs no token"


async def test_all_that_must_go_on_beside_the_requests_is_started(gateway: Gateway) -> None:
    assert gateway.container.background == {
        "outbox_relay",
        "idempotency_sweep",
        "holdings_comparison",
        "document_signals",
        "auth_watch",
        "chat_watch",
        "usage_watch",
        "standing",
        "widget_upkeep",
    }


def test_every_operation_has_a_name_a_tag_and_the_codes_of_its_refusals() -> None:
    operations = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    nameless = [
        (operation["operationId"], status)
        for operation in operations
        for status, response in operation["responses"].items()
        if status >= "400" and "application/problem+json" in response.get("content", {}) and not codes_of(response)
    ]
    waits = [
        response
        for operation in operations
        for status, response in operation["responses"].items()
        if status in {"429", "503"}
    ]

    assert len(set(names)) == len(names)
    assert {"listFiles", "getPassage", "ask", "requestCode"} <= set(names)
    assert not [name for name in names if "_" in name]
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    assert nameless == []
    assert all("Retry-After" in response["headers"] for response in waits)


def refusals(method: str, path: str) -> dict[str, set[str]]:
    responses = DOCUMENT["paths"][path][method]["responses"]
    return {status: codes for status, response in responses.items() if (codes := codes_of(response))}


def test_an_operation_names_what_it_may_refuse_and_nothing_else() -> None:
    assert refusals("get", "/v1/usage") == {
        "401": {
            "unauthenticated",
            "invalid_token",
            "token_expired",
            "operator_token",
            "token_outdated",
            "session_ended",
            "invalid_api_key",
        },
        "403": {"tenant_mismatch", "not_allowed", "second_factor_required", "address_not_allowed"},
        "422": {"invalid_input", "two_credentials"},
        "429": {"rate_limited"},
        "503": {"upstream_unavailable"},
    }
    assert refusals("post", "/v1/auth/verify-code")["409"] == {"choose_tenant"}
    assert "collection_not_found" in refusals("post", "/v1/files")["404"]
    assert refusals("post", "/v1/files")["507"] == {"storage_full"}
    assert refusals("get", "/v1/files/{document_id}/content")["416"] == {"range_unsatisfiable"}
    for method, path in (("post", "/v1/files"), ("post", "/v1/chat"), ("get", "/v1/search")):
        assert {"quota_exceeded", "quota_busy", "rate_limited"} <= refusals(method, path)["429"]
    assert "document_not_found" in refusals("get", "/v1/search")["404"]
    every = {code for path, item in DOCUMENT["paths"].items() for method in item for code in
             set().union(*refusals(method, path).values())}  # fmt: skip
    assert not every & {"event_forged", "claim_lost", "provider_call_closed", "chunks_out_of_order", "invalid_frame"}


def test_headers_frames_and_close_codes_are_described() -> None:
    def headers(method: str, path: str, status: str) -> set[str]:
        return set(DOCUMENT["paths"][path][method]["responses"][status]["headers"])

    counted = {"X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
    assert headers("get", "/v1/usage", "429") == counted | {"Retry-After"}
    assert headers("post", "/v1/files", "202") == counted | {"Location", "Idempotent-Replayed"}
    assert {"ETag", "Content-Range", "Accept-Ranges"} < headers("get", "/v1/files/{document_id}/content", "206")
    assert headers("get", "/readyz", "503") == {"X-Request-ID", "Retry-After"}
    progress = DOCUMENT["paths"]["/v1/files/{document_id}/events"]["get"]["responses"]["200"]["content"]
    frames = progress["text/event-stream"]["schema"]["oneOf"]
    assert [frame["$ref"].rsplit("/")[-1] for frame in frames] == ["DocumentView", "ErrorFrame"]
    socket = DOCUMENT["webhooks"]["chatSocket"]["post"]["description"]
    assert all(code in socket for code in ("4401", "4403", "4408", "1013", "origin_refused", "too_many_sockets"))
    codes = DOCUMENT["components"]["schemas"]["ErrorFrame"]["properties"]["code"]["enum"]
    assert {"busy", "invalid_frame", "token_expired", "quota_busy", "provider_timeout", "turn_not_found"} < set(codes)


def test_lists_page_in_one_way_and_frames_have_schemas() -> None:
    limits = {
        parameter["schema"].get("maximum")
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
        if parameter["name"] == "limit" and "cursor" in str(operation["parameters"])
    }
    schemas = DOCUMENT["components"]["schemas"]
    assert limits == {100}
    assert {"StartFrame", "DeltaFrame", "EndFrame", "ErrorFrame", "ClientMessage", "ServerFrame"} <= set(schemas)
    for name in ("StartFrame", "SourcesFrame", "DeltaFrame", "EndFrame"):
        assert "turn_id" in schemas[name]["required"]


async def test_the_socket_is_described_by_the_classes_of_its_frames(gateway: Gateway) -> None:
    document = await (await gateway.call("GET", "/asyncapi.json")).json()
    sent, received = (document["operations"][name]["messages"] for name in ("sendFrame", "receiveMessage"))
    assert [each["$ref"].rpartition("/")[2] for each in sent] == [
        "StartFrame",
        "SourcesFrame",
        "DeltaFrame",
        "EndFrame",
        "ErrorFrame",
    ]
    assert len(received) == 3
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("StartFrame", "EndFrame", "AskMessage"):
        fields = document["components"]["schemas"][name]["properties"]
        assert set(fields) == set(schemas[name]["properties"])
    assert all(str(code) in document["info"]["description"] for code in session.CLOSE_CODES)
    assert document["channels"]["chat"]["address"] == PATH


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/files", "/v1/chats", "/nothing"])
async def test_no_answer_is_guessed_framed_or_leaked_by_a_browser(gateway: Gateway, path: str) -> None:
    headers = (await gateway.call("GET", path, headers=gateway.headers())).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src" in headers["Content-Security-Policy"]
    assert ("script-src" in headers["Content-Security-Policy"]) == (path == "/docs")
