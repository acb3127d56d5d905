"""`docuchat admin`: finds an operator's credential and speaks to /v1/operator only."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from docuchat_client.rendering import moment

from .conftest import Command, Service, problem, token

KEY = "dco_0_secret"
TENANT = {
    "id": 2,
    "customer_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "slug": "acme",
    "name": "Acme",
    "signup": "invite",
    "domains": [],
    "created_at": "2026-11-21T12:00:00Z",
}


@pytest.fixture
def admin(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in a folder below that of a local run."""
    access = token("operator")
    service.good_tokens = {access}
    service.open_paths.add("/v1/operator/token")

    async def exchange(request: Request) -> Response:
        if (await request.json())["key"] != KEY:
            return problem(401, "invalid_operator_key", "The operator's credential is wrong or was revoked.")
        return JSONResponse({"access_token": access, "token_type": "bearer", "expires_in": 900})

    service.on("POST", "/v1/operator/token", exchange)
    service.on("GET", "/v1/operator/tenants", JSONResponse({"items": [TENANT], "next_cursor": None}))
    local = tmp_path / "product" / ".local"
    local.mkdir(parents=True)
    (local / "operator.json").write_text(json.dumps({"server": service.url, "key": KEY}))
    below = tmp_path / "product" / "some" / "folder"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    return Command(tmp_path / "config")


async def test_the_list_shows_which_tenant_is_suspended_or_about_to_be_deleted(
    service: Service, admin: Command
) -> None:
    suspended = TENANT | {"suspended_at": "2026-11-22T12:00:00Z"}
    deleting = suspended | {"deletes_at": "2026-11-29T12:00:00Z"}
    service.answers.clear()
    service.on("POST", "/v1/operator/token", JSONResponse({"access_token": next(iter(service.good_tokens))}))
    service.on("GET", "/v1/operator/tenants", JSONResponse({"items": [TENANT, suspended, deleting]}))
    states = [line.rpartition("\t")[2] for line in (await admin("admin", "list-tenants")).out.splitlines()]
    assert states == ["active", "suspended", f"erased {moment(datetime(2026, 11, 29, 12, tzinfo=UTC))}"]
    assert "state" not in json.loads((await admin("admin", "list-tenants", "--json")).out)[0]


async def test_a_local_runs_credential_is_found_above_the_folder(service: Service, admin: Command) -> None:
    done = await admin("admin", "list-tenants")

    assert (done.code, done.out) == (
        0,
        f"2\tacme\tAcme\tinvite\t{TENANT['customer_id']}\t{moment(datetime(2026, 11, 21, 12, tzinfo=UTC))}\tactive\n",
    )
    assert [path for _, path in service.requests] == ["/v1/operator/token", "/v1/operator/tenants"]
    assert all("x-tenant-id" not in headers for headers in service.headers)


async def test_a_local_runs_credential_is_sent_to_no_other_service(service: Service, admin: Command) -> None:
    done = await admin("admin", "--server", service.url.replace("127.0.0.1", "localhost"), "list-tenants")

    assert done.code == 3 and "is for http://127.0.0.1" in done.err and service.requests == []


async def test_the_environment_stands_above_the_file_and_a_wrong_key_says_so(service: Service, admin: Command) -> None:
    admin.environment |= {"DOCUCHAT_OPERATOR_KEY": "dco_0_other", "DOCUCHAT_SERVER": service.url}
    done = await admin("admin", "status")

    assert done.code == 3 and "[invalid_operator_key]" in done.err and "docuchat login" not in done.err


async def test_without_a_credential_it_says_how_to_get_one(
    admin: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = await admin("admin", "status")

    assert done.code == 3 and "DOCUCHAT_OPERATOR_KEY" in done.err and "docuchat_setup operator" in done.err


async def test_a_tenant_is_created_with_its_owner(service: Service, admin: Command) -> None:
    service.on("POST", "/v1/operator/tenants", JSONResponse(TENANT, 201))

    done = await admin("admin", "create-tenant", "--slug", "acme", "--name", "Acme", "--owner", "ann@example.com")

    assert done.code == 0 and "docuchat login --tenant acme" in done.out
    wanted = {"slug": "acme", "name": "Acme", "owner": "ann@example.com", "signup": "invite", "domains": []}
    assert json.loads(service.raw[-1]) == wanted
    assert (await admin("admin", "create-tenant", "--slug", "acme")).code == 2


async def test_limits_and_prices_are_set_by_slug_and_checked_before_they_are_sent(
    service: Service, admin: Command
) -> None:
    limit = {"subject_type": "tenant", "unit": "tokens", "limit": 50_000_000.0, "used": 0.25, "held": 0}
    stored = {**limit, "unit": "bytes", "limit": 10_000_000_000.0, "used": 0, "remaining": 10_000_000_000.0}
    limits = {"user_id": None, "limits": [limit, stored]}
    service.on("PUT", "/v1/operator/tenants/2/quota", JSONResponse(limits))
    price = {"provider": "*", "model": "gpt*", "input": 0.15, "output": 0.6, "embedding": 0.15}
    service.on("POST", "/v1/operator/prices", JSONResponse(price, 201))

    done = await admin("admin", "set-quota", "acme", "--tokens", "5", "--cost", "none")
    assert (done.code, done.out.splitlines()) == (
        0,
        [
            "tenant\ttokens\t50,000,000\t0.25\t\t",
            "tenant\tbytes\t10.0 GB\t0 B\t10.0 GB\t",
        ],
    )
    assert json.loads(service.raw[-1]) == {"tokens": 5, "cost": None}
    priced = await admin("admin", "set-price", "gpt*", "--input", "0.15", "--output", "0.6")
    said = "gpt* (any provider): input 0.15, output 0.6, embedding 0.15 USD per million tokens, from now on\n"
    assert (priced.code, priced.out) == (0, said)
    assert json.loads(service.raw[-1]) == {"provider": "*", "model": "gpt*", "input": "0.15", "output": "0.6"}

    sent = len(service.requests)
    assert (await admin("admin", "set-quota", "acme", "--tokens", "many")).code == 2
    assert "1,152,921,504,606,846,976 at most" in (await admin("admin", "set-quota", "acme", "--tokens", "9" * 20)).err
    assert (await admin("admin", "set-price", "gpt*", "--input", "x", "--output", "1")).code == 2
    assert len(service.requests) == sent
    unknown = await admin("admin", "set-quota", "nobody", "--tokens", "1")
    assert unknown.code == 4 and "no tenant 'nobody'" in unknown.err
    assert "Name at least one limit" in (await admin("admin", "set-quota", "acme")).err


async def test_of_a_tenant_in_its_grace_there_is_no_receipt_yet(service: Service, admin: Command) -> None:
    going = TENANT | {"deletes_at": "2026-11-29T12:00:00Z", "suspended_at": "2026-11-22T12:00:00Z"}
    service.answers.pop(("GET", "/v1/operator/tenants"))
    service.on("GET", "/v1/operator/tenants", JSONResponse({"items": [going]}))
    service.on("PATCH", "/v1/operator/tenants/acme", JSONResponse(going))
    ends = moment(datetime(2026, 11, 29, 12, tzinfo=UTC))
    receipt = await admin("admin", "deletion-receipt", "acme")
    assert receipt.code == 4 and f"acme is erased at {ends}; until then there is no receipt" in receipt.err
    assert f"It is erased at {ends}" in (await admin("admin", "suspend-tenant", "acme", "--yes")).err


async def test_one_users_limits_are_set_and_shown_by_address_or_id(service: Service, admin: Command) -> None:
    ann = {"id": "01a1fee6-aba9-778c-b602-a2b1d4e36980", "email": "ann@example.com", "role": "owner"}
    asked: list[dict[str, str]] = []

    async def users(request: Request) -> Response:
        asked.append(dict(request.query_params))
        known = asked[-1].get("email", ann["email"]) == ann["email"]
        return JSONResponse({"items": [{**ann, "last_login_at": "2026-11-21T12:00:00Z"}] if known else []})

    limit = {"subject_type": "user", "unit": "tokens", "limit": 5, "used": 0, "resets_at": "2026-12-01T00:00:00Z"}
    service.on("GET", "/v1/operator/tenants/acme/users", users)
    for method in ("GET", "PUT"):
        service.on(method, "/v1/operator/tenants/2/quota", JSONResponse({"user_id": ann["id"], "limits": [limit]}))
    december = moment(datetime(2026, 12, 1, tzinfo=UTC))
    row = f"user ann@example.com\ttokens\t5\t0\t\t{december}\n"

    changed = await admin("admin", "set-quota", "acme", "--user", "ann@example.com", "--tokens", "5")
    assert (changed.code, changed.out) == (0, row)
    assert json.loads(service.raw[-1]) == {"tokens": 5, "user_id": ann["id"]}
    assert (await admin("admin", "show-quota", "acme", "--user", ann["id"])).out == row
    assert [params.get("email", params.get("user_id")) for params in asked] == [ann["email"], ann["id"]]
    service.answers.pop(("GET", "/v1/operator/tenants/2/quota"))
    service.on("GET", "/v1/operator/tenants/2/quota", JSONResponse({"limits": [limit | {"subject_type": "tenant"}]}))
    assert "has no limit of their own" in (await admin("admin", "show-quota", "acme", "--user", ann["id"])).err
    listed = await admin("admin", "list-users", "acme")
    assert listed.out.startswith(f"ann@example.com\towner\t{ann['id']}\t")
    sent = len(service.raw)
    unknown = await admin("admin", "set-quota", "acme", "--user", "eve@example.com", "--tokens", "5")
    assert unknown.code == 4 and "eve@example.com" in unknown.err and len(service.raw) == sent + 2


async def test_prices_are_those_in_force_unless_all_are_asked_for(service: Service, admin: Command) -> None:
    price = {"provider": "*", "model": "gpt*", "input": 0.15, "output": 0.6, "embedding": 0.15}

    async def prices(request: Request) -> Response:
        return JSONResponse({"items": [price] * (2 if request.url.query == "all=true" else 1)})

    service.on("GET", "/v1/operator/prices", prices)

    for arguments, count in (((), 1), (("--all",), 2)):
        done = await admin("admin", "list-prices", *arguments)
        assert (done.code, done.out) == (0, "gpt*\t*\t0.15\t0.6\t0.15\t\n" * count)


async def test_the_rest_is_told_as_the_service_says_it(service: Service, admin: Command) -> None:
    service.on("PATCH", "/v1/operator/tenants/acme", JSONResponse({**TENANT, "signup": "open"}))
    rotated = {"kid": "k", "algorithm": "EdDSA", "signs_from": "2026-11-21T12:10:00Z"}
    service.on("POST", "/v1/operator/signing-keys/rotate", JSONResponse(rotated))
    letter = {"service": "usage", "queue": "usage.usage-recorded.v1", "reason": "invalid", "count": 2}
    letter |= {"oldest_seconds": 9.515851, "ids": ["01a1fee6-aba9-778c-b602-a2b1d4e36980"]}
    service.on("GET", "/v1/operator/dead-letters", JSONResponse({"items": [letter], "unanswered": []}))
    service.on("POST", "/v1/operator/dead-letters/discard", JSONResponse({"discarded": 2}))
    service.on("POST", "/v1/operator/documents/recount", JSONResponse({"corrected": 1, "left": 2, "tenants": 0}))
    service.on("POST", "/v1/operator/dead-letters/replay", JSONResponse({"replayed": {"usage": 1}}))
    service.on("POST", "/v1/operator/documents/reembed", JSONResponse({"queued": 3}))
    service.on("GET", "/v1/operator/pauses", JSONResponse({"items": []}))
    service.on("DELETE", "/v1/operator/pauses", Response(status_code=204))

    said = {
        ("set-signup", "acme", "open"): "Sign-up of tenant 2 (acme) is open.\n",
        ("rotate-keys",): f"Key k signs from {moment(datetime(2026, 11, 21, 12, 10, tzinfo=UTC))}.\n",
        ("dead-letters", "list"): "usage.usage-recorded.v1: 2 given up, invalid, the oldest 10 s ago\n"
        "    id 01a1fee6-aba9-778c-b602-a2b1d4e36980\n",
        ("dead-letters", "replay", "--service", "usage"): "usage: 1 handed back\n",
        ("dead-letters", "discard", "--queue", "usage.usage-recorded.v1", "--yes"): "2 forgotten.\n",
        ("recount",): "1 documents corrected; 2 left as they are.\n",
        ("reembed", "--tenant", "acme"): "queued: 3\n",
        ("pauses", "list"): "",
        ("pauses", "end"): "Nothing was waiting.\n",
    }
    for arguments, words in said.items():
        done = await admin("admin", *arguments)
        assert (done.code, done.out) == (0, words), (arguments, done)


async def test_operators_read_what_operators_did(service: Service, admin: Command) -> None:
    asked = []

    async def log(request: Request) -> Response:
        asked.append(dict(request.query_params))
        return JSONResponse({"items": [{"seq": 3, "action": "tenant.create", "result": "done"}]})

    service.on("GET", "/v1/operator/audit", log)
    done = await admin("admin", "audit", "--action", "tenant.create", "--limit", "5")
    assert done.code == 0 and done.out.startswith("3\t") and "tenant.create" in done.out, done
    assert asked == [{"limit": "5", "action": "tenant.create"}]
    noise = {"seq": 4, "action": "operator.sign_in", "result": "done"}
    service.answers.pop(("GET", "/v1/operator/audit"))
    entries = [noise, noise | {"seq": 3, "action": "tenant.create"}, noise, noise | {"seq": 2, "action": "x"}]
    service.on("GET", "/v1/operator/audit", JSONResponse({"items": entries, "next_cursor": "n"}))
    quiet = await admin("admin", "audit", "--limit", "2", "--json")
    assert [entry["seq"] for entry in json.loads(quiet.out)] == [3, 2]
    assert "operator.sign_in" in (await admin("admin", "audit", "--all")).out


async def test_an_audit_log_is_verified_to_its_end(service: Service, admin: Command) -> None:
    def part(checked: int, next_after: int | None, *breaks: int) -> JSONResponse:
        found = [{"seq": seq, "reason": "it was changed"} for seq in breaks]
        head = {"head_seq": next_after or 9, "head_hash": "ab"}
        return JSONResponse({"holds": not found, "checked": checked, "breaks": found, "next_after": next_after, **head})

    service.on("GET", "/v1/operator/audit/verify", part(5, 5), part(4, None), part(5, 5, 3), part(4, None))

    done = await admin("admin", "verify-audit", "--tenant", "acme")
    assert (done.code, done.out) == (0, "9 entries, the last is 9, hash ab\n")
    broken = await admin("admin", "verify-audit")
    assert broken.code == 1 and "entry 3: it was changed" in broken.err


async def test_services_that_did_not_answer_are_a_failure(service: Service, admin: Command) -> None:
    answer = {"replayed": {"usage": 1}, "items": [], "unanswered": ["chat"]}
    service.on("POST", "/v1/operator/dead-letters/replay", JSONResponse(answer))
    service.on("GET", "/v1/operator/dead-letters", JSONResponse(answer))

    for command in ("replay", "list"):
        done = await admin("admin", "dead-letters", command)
        assert done.code == 6 and "chat did not answer" in done.err and "none" not in done.err


async def test_status_is_a_line_for_each_service_and_for_what_waits(service: Service, admin: Command) -> None:
    parts = [
        {"name": "gateway", "ready": True, "checks": {"postgres": "ok", "redis": "ok"}},
        {"name": "auth", "ready": True, "checks": {"postgres": "ok", "rabbitmq": "failing (OSError)"}},
        {"name": "chat", "ready": False, "checks": {"postgres": "failing (no answer within 2 s)"}},
        {"name": "usage", "ready": False, "checks": {}},
    ]
    answer = {"parts": parts, "dead_letters": None, "unanswered": ["usage"], "outdated_documents": 3, "pauses": None}
    service.on("GET", "/v1/operator/status", JSONResponse(answer))

    done = await admin("admin", "status")

    assert done.out.splitlines() == [
        "gateway\tready\tpostgres, redis",
        "auth\tdegraded\trabbitmq failing (OSError)",
        "chat\tnot ready\tpostgres failing (no answer within 2 s)",
        "usage\tnot ready\tdoes not answer; its log may say why",
        "dead letters\tunknown: usage did not answer",
        "outdated documents\t3",
        "pauses\tunknown",
    ]
    assert done.code == 6 and "2 of 4 services not ready: chat, usage" in done.err
    as_json = await admin("admin", "status", "--json")
    assert (as_json.code, json.loads(as_json.out)) == (6, answer)


async def test_status_fails_only_when_something_does_not_answer(service: Service, admin: Command) -> None:
    parts = [{"name": "auth", "ready": True, "checks": {"rabbitmq": "failing (RabbitMQ does not answer)"}}]
    well = {"parts": parts, "dead_letters": 2, "unanswered": [], "outdated_documents": 3, "pauses": 1}
    silent = well | {"dead_letters": None, "unanswered": ["ingest-worker"]}
    service.on("GET", "/v1/operator/status", JSONResponse(well), JSONResponse(silent))

    assert (await admin("admin", "status")).code == 0
    done = await admin("admin", "status")
    assert done.code == 6 and "ingest-worker did not answer" in done.err


async def test_a_tenant_is_suspended_when_that_is_confirmed_and_resumed(service: Service, admin: Command) -> None:
    async def change(request: Request) -> Response:
        return JSONResponse(TENANT | {"suspended_at": "x" if (await request.json())["suspended"] else None})

    service.on("PATCH", "/v1/operator/tenants/acme", change)
    refused = await admin("admin", "suspend-tenant", "acme")
    suspended = await admin("admin", "suspend-tenant", "acme", "--yes")
    again = await admin("admin", "resume-tenant", "acme")
    service.answers["GET", "/v1/operator/tenants"].clear()
    service.on("GET", "/v1/operator/tenants", JSONResponse({"items": [TENANT | {"suspended_at": "x"}]}))
    resumed = await admin("admin", "resume-tenant", "acme")

    assert refused.code != 0 and service.count("PATCH", "/v1/operator/tenants/acme") == 3
    assert (suspended.code, suspended.out) == (0, "Tenant 2 (acme) is suspended: what is there can be read.\n")
    assert (again.code, again.out) == (0, "Tenant 2 (acme) was not suspended.\n")
    assert (resumed.code, resumed.out) == (0, "Tenant 2 (acme) is not suspended any more.\n")


async def test_a_user_gets_a_role_and_a_sign_in_is_reset(service: Service, admin: Command) -> None:
    user = {"id": "u1", "email": "bob@example.com", "role": "viewer"}
    service.on("GET", "/v1/operator/tenants/acme/users", JSONResponse({"items": [user], "next_cursor": None}))
    service.on("PATCH", "/v1/operator/tenants/acme/users/u1", JSONResponse(user))
    service.on("POST", "/v1/operator/tenants/acme/users/u1/reset-sign-in", Response(status_code=204))
    changed = await admin("admin", "set-role", "acme", "bob@example.com", "viewer")
    unknown = await admin("admin", "set-role", "acme", "bob@example.com", "emperor")
    reset = await admin("admin", "reset-sign-in", "acme", "bob@example.com", "--yes")

    assert (changed.code, changed.out) == (0, "bob@example.com is viewer of acme.\n")
    assert unknown.code == 2
    assert (reset.code, reset.out) == (0, "bob@example.com can sign in anew, with the second factors there were.\n")
    reset = await admin("admin", "reset-sign-in", "acme", "bob@example.com", "--yes", "--second-factors")
    assert (reset.code, reset.out) == (0, "bob@example.com can sign in anew, without a second factor.\n")
    assert service.raw[-1] == b'{"second_factors":true}'


async def test_a_tenant_is_deleted_when_that_is_confirmed_and_taken_back(service: Service, admin: Command) -> None:
    asked = []

    async def delete(request: Request) -> Response:
        asked.append(request.query_params["confirm"])
        return JSONResponse(TENANT | {"deletes_at": "2026-11-28T12:00:00Z", "state": "deleting"}, status_code=202)

    service.on("DELETE", "/v1/operator/tenants/2", delete)
    service.on("POST", "/v1/operator/tenants/acme/restore", JSONResponse(TENANT | {"state": "active"}))
    refused = await admin("admin", "delete-tenant", "acme")
    done = await admin("admin", "delete-tenant", "acme", "--yes")
    unknown = await admin("admin", "delete-tenant", "acne", "--yes")
    unasked = await admin("admin", "restore-tenant", "acme")
    service.answers["GET", "/v1/operator/tenants"].clear()
    service.on("GET", "/v1/operator/tenants", JSONResponse({"items": [TENANT | {"deletes_at": "x"}]}))
    back = await admin("admin", "restore-tenant", "acme")

    assert refused.code != 0 and unknown.code != 0 and asked == ["acme"]
    ends = moment(datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert done.out == f"Tenant 2 (acme) is erased at {ends}; until then: restore-tenant.\n"
    assert unasked.out == "Tenant 2 (acme) stays; nobody had asked for its deletion.\n"
    assert (back.code, back.out) == (0, "Tenant 2 (acme) stays; it is active.\n")


async def test_a_receipt_says_what_is_gone_and_what_is_kept(service: Service, admin: Command) -> None:
    part = {"service": "usage", "erased": {"sums": 4}, "kept": {"ledger": "the books"}}
    for number, waiting in ((2, []), (3, ["chat"])):
        receipt = {"tenant_id": number, "parts": [part], "waiting_for": waiting}
        service.on("GET", f"/v1/operator/tenants/{number}/receipt", JSONResponse(receipt))
    done = await admin("admin", "deletion-receipt", "2")
    unfinished = await admin("admin", "deletion-receipt", "3")

    assert (done.code, done.out) == (0, "usage: 4 sums erased\nusage: ledger kept (the books)\n")
    assert unfinished.code == 1 and "chat did not say yet" in unfinished.err


async def test_a_domain_is_taken_from_a_tenant(service: Service, admin: Command) -> None:
    service.on("DELETE", "/v1/operator/tenants/acme/domains/acme.example", Response(status_code=204))
    done = await admin("admin", "release-domain", "acme", "acme.example", "--yes")
    assert (done.code, done.out) == (0, "acme.example is no domain of acme any more.\n")
    assert (await admin("admin", "release-domain", "acme", "acme.example", text="n\n")).code == 1
