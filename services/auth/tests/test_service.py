"""The service as a process on real servers, over HTTP: S5, S6, isolation, mail, logs."""

import asyncio
import json
import random
import time
from typing import Any

import jwt
import pytest

from docuchat_auth.app import create_app
from docuchat_auth.settings import Settings
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import INTERNAL_TOKEN

from .conftest import LOGOUT, REFRESH, REQUEST, VERIFY, wrong


async def test_gateways_and_nobody_else_are_told_what_was_taken_back(auth: Any) -> None:
    inside = {"X-Internal-Token": INTERNAL_TOKEN}
    before = (await auth.http.get("/internal/revisions", headers=inside)).json()
    tokens = await auth.tokens_of("ann@example.com")
    await auth.post(LOGOUT, {"refresh_token": tokens["refresh_token"]})
    told = (await auth.http.get("/internal/revisions", headers=inside, params={"after": before["after"]})).json()
    again = (await auth.http.get("/internal/revisions", headers=inside, params={"after": told["after"]})).json()
    outside = await auth.http.get("/internal/revisions")
    nonsense = await auth.http.get("/internal/revisions", headers=inside, params={"after": "now()"})

    session = jwt.decode(tokens["access_token"], options={"verify_signature": False})["sid"]
    assert told["items"] == [{"tenant_id": 1, "kind": "session", "subject": session, "version": 0, "state": "ended"}]
    assert again["items"] == []
    assert (outside.status_code, nonsense.status_code) == (403, 422)


async def test_the_whole_sign_in(auth: Any) -> None:
    asked = await auth.post(REQUEST, {"email": "Another@Example.com"})
    assert asked.status_code == 202
    assert {**asked.json(), "challenge": None} == {"status": "sent", "expires_in": 600, "challenge": None}
    tokens = await auth.tokens_of("user@example.com")
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 3600
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await auth.http.get("/v1/users/me", headers=bearer)
    assert me.status_code == 200
    body = me.json()
    assert body["email"] == "user@example.com"
    assert body["role"] == "owner"
    assert (
        body["tenant"].pop("customer_id")
        == jwt.decode(tokens["access_token"], options={"verify_signature": False})["customer_id"]
    )
    assert body["tenant"] == {"id": 1, "slug": "demo", "name": "Demo"}
    names = {"id", "email", "email_verified", "username", "name", "role", "tenant", "created_at", "updated_at"}
    assert set(body) == names
    assert (await auth.http.get("/v1/users/me", headers={**bearer, "X-Tenant-ID": "2"})).status_code == 403
    assert (await auth.http.get("/v1/users/me")).status_code == 401

    renewed = await auth.post(REFRESH, {"refresh_token": tokens["refresh_token"]}, "demo")
    assert renewed.status_code == 200
    assert renewed.headers["cache-control"] == "no-store"
    gone = await auth.post(LOGOUT, {"refresh_token": renewed.json()["refresh_token"]})
    assert (gone.status_code, gone.content) == (204, b"")
    ended = await auth.post(REFRESH, {"refresh_token": renewed.json()["refresh_token"]})
    assert (ended.status_code, ended.json()["code"]) == (401, "invalid_refresh_token")


async def test_errors_are_problems_that_say_what_to_do(auth: Any) -> None:
    for tenant, body_, status, code in (
        ("1", {"email": "user"}, 422, "invalid_input"),
        ("1", {"email": "a\r\nBcc: x@example.com"}, 422, "invalid_input"),
        ("1", {"email": f"{'a' * 300}@example.com"}, 422, "invalid_input"),
        ("1", {}, 422, "invalid_input"),
    ):
        answer = await auth.post(REQUEST, body_, tenant)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    for code_ in ("12345", "1234567", "12a456", "", "١٢٣٤٥"):
        answer = await auth.post(VERIFY, {"email": "user@example.com", "code": code_})
        assert answer.status_code == 422
    unknown = await auth.post(REFRESH, {"refresh_token": "unknown"})
    assert (unknown.status_code, unknown.json()["code"]) == (401, "invalid_refresh_token")


async def test_fifty_refreshes_at_once_have_one_successor_and_reuse_after_it_ends_the_family(auth: Any) -> None:
    tokens = await auth.tokens_of("user@example.com")
    other = await auth.tokens_of("user@example.com")
    body = {"refresh_token": tokens["refresh_token"]}
    answers = await asyncio.gather(*(auth.post(REFRESH, body) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    third = await auth.post(REFRESH, {"refresh_token": successor})
    assert third.status_code == 200
    reused = await auth.post(REFRESH, body)
    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_token_reused")
    assert (await auth.post(REFRESH, {"refresh_token": third.json()["refresh_token"]})).status_code == 401
    assert (await auth.post(REFRESH, {"refresh_token": other["refresh_token"]})).status_code == 200
    rows = await auth.query(
        "SELECT family_id, bool_and(revoked_at IS NOT NULL) AS ended FROM auth.refresh_tokens GROUP BY 1"
    )
    assert sorted(row["ended"] for row in rows) == [False, True]


async def test_a_revocation_catches_the_child_that_is_being_born(auth: Any) -> None:
    for number in range(10):
        first = (await auth.tokens_of(f"user{number}@example.com"))["refresh_token"]
        second = (await auth.post(REFRESH, {"refresh_token": first})).json()["refresh_token"]
        third = (await auth.post(REFRESH, {"refresh_token": second})).json()["refresh_token"]
        answers = await asyncio.gather(
            auth.post(REFRESH, {"refresh_token": third}), auth.post(REFRESH, {"refresh_token": first})
        )
        assert answers[1].status_code == 401
    alive = await auth.query("SELECT 1 FROM auth.refresh_tokens WHERE revoked_at IS NULL")
    assert alive == []


async def test_a_code_is_accepted_once_under_fifty_parallel_tries(auth: Any) -> None:
    code = await auth.code_of("user@example.com")
    body = {"email": "user@example.com", "code": code}
    answers = await asyncio.gather(*(auth.post(VERIFY, body) for _ in range(50)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(401)) == (1, 49)
    assert len(await auth.query("SELECT 1 FROM auth.refresh_tokens")) == 1


async def test_five_guesses_a_code_even_in_parallel(auth: Any) -> None:
    code = await auth.code_of("user@example.com")
    bodies = [{"email": "user@example.com", "code": wrong(code)}] * 5
    answers = await asyncio.gather(*(auth.post(VERIFY, body) for body in bodies))
    assert {answer.json()["code"] for answer in answers} == {"invalid_code"}
    late = await auth.post(VERIFY, {"email": "user@example.com", "code": code})
    assert (late.status_code, late.json()["code"]) == (401, "invalid_code")


async def test_the_client_address_is_the_peer_unless_the_gateway_says_so(run_auth: Any) -> None:
    async with run_auth(CODE_SENDS_PER_ADDRESS="2/hour") as auth:

        async def ask(number: int, **headers: str) -> int:
            answer = await auth.post(REQUEST, {"email": f"user{number}@example.com"}, **headers)
            return int(answer.status_code)

        spoofed = [await ask(number, **{"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(4)]
        assert spoofed == [202, 202, 429, 429]
        inside = {"X-Internal-Token": INTERNAL_TOKEN}
        vouched = [
            await ask(number, **{"X-Forwarded-For": f"198.51.100.{number}", **inside}) for number in range(10, 14)
        ]
        assert vouched == [202, 202, 202, 202]
        wrong_token = {"X-Internal-Token": "x" * 40, "X-Forwarded-For": "198.51.100.99"}
        assert await ask(20, **wrong_token) == 429
        network = [
            await ask(number, **{"X-Forwarded-For": f"2001:db8::{number}", **inside}) for number in range(30, 33)
        ]
        assert network == [202, 202, 429]


async def test_known_and_unknown_addresses_get_the_same_answer_in_the_same_time(run_auth: Any) -> None:
    async with run_auth(CODE_SENDS_PER_EMAIL="100000/minute") as auth:
        rounds = [(f"known{number}@example.com", f"unknown{number}@example.com") for number in range(4)]
        for known, _ in rounds:
            await auth.tokens_of(known)
        auth.command("set-signup", "--slug", "demo", "closed")

        async def ratio(known: str, unknown: str, path: str, more: dict[str, str], tries: int) -> float:
            emails = [known, unknown] * tries
            random.Random(6).shuffle(emails)
            times: dict[str, list[float]] = {}
            shapes = set()
            for email in emails:
                begin = time.perf_counter()
                answer = await auth.post(path, {"email": email, **more})
                times.setdefault(email, []).append(time.perf_counter() - begin)
                body = answer.json()
                body.pop("request_id", None)
                assert not {"challenge"} & set(body) or len(body.pop("challenge")) == 32
                shapes.add((answer.status_code, json.dumps(body), tuple(sorted(answer.headers))))
            assert len(shapes) == 1, shapes
            return min(times[known]) / min(times[unknown])

        # tries are less than the failures that an account has; a busy machine may favour one of the two, but not always
        for path, more, tries in ((REQUEST, {}, 40), (VERIFY, {"code": "000000"}, 18)):
            ratios = []
            for known, unknown in rounds:
                ratios.append(await ratio(known, unknown, path, more, tries))
                if 0.6 < ratios[-1] < 1.6:
                    break
            print(f"{path}: known to unknown {ratios}")
            assert 0.6 < ratios[-1] < 1.6, ratios
        assert "email=unknown" not in auth.log()


async def test_nobody_learns_which_tenants_there_are(auth: Any) -> None:
    shapes = set()
    for tenant in ("1", "99", "demo", "no-such-slug", "no such slug", "9" * 30):
        for path, body in (
            (REQUEST, {"email": "user@example.com"}),
            (VERIFY, {"email": "user@example.com", "code": "000000"}),
            (REFRESH, {"refresh_token": "unknown"}),
            (LOGOUT, {"refresh_token": "unknown"}),
        ):
            answer = await auth.post(path, body, tenant)
            shapes.add((path, answer.status_code, tuple(sorted(answer.headers))))
    statuses = {REQUEST: 202, VERIFY: 401, REFRESH: 401, LOGOUT: 204}
    assert len(shapes) == 4 and {path: status for path, status, _ in shapes} == statuses
    assert "no-such-slug" not in auth.log()


async def test_a_local_run_logs_the_code_before_it_answers(auth: Any) -> None:
    for number in range(5):
        await auth.post(REQUEST, {"email": f"user{number}@example.com"})
        assert f"email=user{number}@example.com" in auth.log()  # at once: whoever looks now must not see an older code


async def test_a_closed_tenant_takes_members_but_no_strangers(auth: Any) -> None:
    await auth.create_tenant("closed", is_open=False)
    answer = await auth.post(REQUEST, {"email": "eve@example.com"}, "closed")
    assert answer.status_code == 202
    await eventually(lambda: "auth.code_withheld" in auth.log())
    assert "eve@example.com" not in auth.log()


async def test_the_same_address_in_two_tenants_is_two_users(auth: Any) -> None:
    await auth.create_tenant("second")
    first = await auth.tokens_of("user@example.com", "demo")
    second = await auth.tokens_of("user@example.com", "second")
    crossed = await auth.post(REFRESH, {"refresh_token": first["refresh_token"]}, "second")
    assert (crossed.status_code, crossed.json()["code"]) == (401, "invalid_refresh_token")
    await auth.post(LOGOUT, {"refresh_token": first["refresh_token"]}, "second")
    assert (await auth.post(REFRESH, {"refresh_token": first["refresh_token"]}, "demo")).status_code == 200
    owners = await auth.query("SELECT tenant_id, role FROM auth.users ORDER BY tenant_id")
    assert [tuple(row) for row in owners] == [(1, "owner"), (2, "owner")]
    assert second["access_token"] != first["access_token"]


async def test_commands_are_idempotent_and_refuse_in_one_line(auth: Any) -> None:
    assert "tenant 1 demo exists" in auth.command("create-tenant", "--slug", "demo", "--id", "1")
    assert "tenant 2 other created, sign-up invite" in auth.command("create-tenant", "--slug", "other")
    assert "tenant 2 other exists, sign-up open" in auth.command("create-tenant", "--slug", "other", "--signup", "open")
    assert "tenant_taken" in auth.command("create-tenant", "--slug", "demo", "--id", "9", expect=1)
    assert "invalid_slug" in auth.command("create-tenant", "--slug", "Not Valid", expect=1)
    assert "tenant_not_found" in auth.command("set-signup", "--slug", "nobody", "open", expect=1)


def test_the_openapi_document_says_everything(
    auth_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in auth_environment.items():
        monkeypatch.setenv(name, value)
    document = create_app(Settings()).openapi()  # type: ignore[call-arg]
    operations = {
        (method, path): operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    assert len(operations) > 20  # which they are is what the gateway passes on
    for (_, path), operation in operations.items():
        assert operation["summary"]
        assert operation["description"]
        problems = {status for status in operation["responses"] if status >= "400"}
        assert problems
        for status in problems:
            assert "application/problem+json" in operation["responses"][status]["content"]
        if path.startswith("/v1/auth/") and "/oidc/" not in path:  # those name the tenant by their path or their code
            assert "422" in problems and "404" not in problems
            assert "X-Tenant-ID" in [parameter["name"] for parameter in operation["parameters"]]
    assert operations["get", "/v1/users/me"]["security"]
