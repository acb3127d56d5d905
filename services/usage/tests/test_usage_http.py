"""The service's HTTP, on a real database, with real tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx2
import pytest
import pytest_asyncio
from services.usage.tests.fakes import FakeAuth

from docuchat_common.ids import uuid7
from docuchat_testkit.documented import documented
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import INTERNAL_TOKEN
from docuchat_usage.app import create_app
from docuchat_usage.ledger.domain import Kind, Usage
from docuchat_usage.settings import Settings

if TYPE_CHECKING:
    from docuchat_testkit.databases import ClonedDatabase
    from docuchat_testkit.identity import TokenMint

INTERNAL = {"X-Internal-Token": INTERNAL_TOKEN}


@pytest_asyncio.fixture
async def auth(token_mint: TokenMint) -> AsyncIterator[FakeAuth]:
    fake = FakeAuth(token_mint)
    async with fake.serve() as fake.url:
        yield fake


@pytest_asyncio.fixture
async def http(
    service_environment: Callable[[str], dict[str, str]], auth: FakeAuth, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    for name, value in (service_environment("usage") | {"AUTH_URL": auth.url}).items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings())
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app),
            base_url="http://usage",
            event_hooks={"response": [documented(create_app, Settings).of_httpx]},
        ) as client,
    ):
        # A connection to RabbitMQ that is closed while it opens leaves tasks of its library behind.
        await eventually(app.state.container.watched["rabbitmq"])
        client.app = app  # type: ignore[attr-defined] - for the test of the schema
        yield client


def hold_body(
    user: UUID | None = None, *, input_tokens: int = 800, output_tokens: int = 200, **changes: Any
) -> dict[str, Any]:
    amounts = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return {
        "tenant_id": 1, "subjects": [{"type": "user", "id": str(user or uuid7())}], "kind": "chat",
        "provider": "openai", "model": "gpt-4o-mini", "lease": 60, **changes,
        "amounts": [{"unit": unit, "amount": amount} for unit, amount in amounts.items()],
    }  # fmt: skip


async def limit_tenant(database: ClonedDatabase, tokens: int) -> None:
    async with database.connect() as connection:
        await connection.execute(
            "UPDATE usage.budgets SET amount_limit = $1 WHERE tenant_id = 1 AND unit = 'tokens'", tokens
        )


async def test_a_hold_is_opened_renewed_and_released(http: httpx2.AsyncClient) -> None:
    opened = await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    assert opened.status_code == 201
    hold = opened.json()
    assert hold["tokens"] == 1000
    assert datetime.fromisoformat(hold["expires_at"]) > datetime.now(UTC)
    path = f"/internal/holds/{hold['hold_id']}"
    renewed = await http.patch(path, json={"tokens": 900, "lease": 90}, headers=INTERNAL)
    assert (renewed.status_code, renewed.json()["tokens"]) == (200, 900)
    assert (await http.delete(path, headers=INTERNAL)).status_code == 204
    gone = await http.patch(path, json={"lease": 90}, headers=INTERNAL)
    assert (gone.status_code, gone.json()["code"]) == (404, "hold_not_found")


@pytest.mark.parametrize("headers", [{}, {"X-Internal-Token": "guess"}])
async def test_holds_are_for_the_products_own_services(http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", ""),
        ("PATCH", f"/{uuid7()}"),
        ("DELETE", f"/{uuid7()}"),
        ("POST", f"/{uuid7()}/settle"),
    ):
        answer = await http.request(method, "/internal/holds" + path, json=hold_body(), headers=headers)
        assert answer.status_code == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens": -1},
        {"output_tokens": 10**12},
        {"lease": 0},
        {"kind": "gift"},
        {"tenant_id": 0},
        {"provider": None},
        {"model": None},
        {"user_id": str(uuid7())},
    ],
)
async def test_impossible_holds_are_invalid(http: httpx2.AsyncClient, changes: dict[str, Any]) -> None:
    answer = await http.post("/internal/holds", json=hold_body(**changes), headers=INTERNAL)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_a_refusal_says_which_layer_how_much_and_until_when(
    http: httpx2.AsyncClient, database: ClonedDatabase
) -> None:
    await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    await limit_tenant(database, 1500)
    busy = await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (429, "quota_busy", "5")
    await limit_tenant(database, 900)
    refused = await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    problem = refused.json()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 5
    assert {key: problem[key] for key in ("code", "layer", "unit", "limit", "used", "held", "remaining")} == {
        "code": "quota_exceeded", "layer": "tenant", "unit": "tokens",
        "limit": 900, "used": 0, "held": 1000, "remaining": 0,
    }  # fmt: skip
    assert datetime.fromisoformat(problem["resets_at"]) > datetime.now(UTC)


async def test_an_upload_is_refused_when_the_storage_is_full(
    http: httpx2.AsyncClient, database: ClonedDatabase
) -> None:
    body = {
        "tenant_id": 1, "subjects": [], "kind": "upload", "lease": 60,
        "amounts": [
            {"unit": "documents", "amount": 1}, {"unit": "pages", "amount": 1}, {"unit": "bytes", "amount": 10**9},
        ],
    }  # fmt: skip
    assert (await http.post("/internal/holds", json=body, headers=INTERNAL)).status_code == 201
    async with database.connect() as connection:
        await connection.execute("UPDATE usage.budgets SET used = amount_limit - 5 WHERE unit = 'bytes'")
    refused = await http.post("/internal/holds", json=body, headers=INTERNAL)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert (refused.json()["unit"], refused.json()["resets_at"]) == ("bytes", None)


async def test_known_events_are_those_that_are_booked(http: httpx2.AsyncClient) -> None:
    body = {"event_ids": [str(uuid7())]}
    assert (await http.post("/internal/ledger/known", json=body)).status_code == 403
    assert (await http.post("/internal/ledger/known", json=body, headers=INTERNAL)).json() == {"known": []}


async def test_usage_shows_windows_quota_and_own_share(
    http: httpx2.AsyncClient, token_mint: TokenMint, database: ClonedDatabase
) -> None:
    user = uuid7()
    await http.post("/internal/holds", json=hold_body(user), headers=INTERNAL)
    given: dict[str, Any] = {"tenant_id": 1, "provider": "openai", "estimated": False, "occurred_at": datetime.now(UTC)}
    await http.app.state.container.ledger.book(  # type: ignore[attr-defined] - set by the fixture
        [
            Usage(
                uuid7(), kind=Kind.CHAT, model="gpt-4o-mini", input_tokens=700, output_tokens=300, user_id=user, **given
            ),
            Usage(
                uuid7(), kind=Kind.EMBEDDING, model="text-embedding-3-small", input_tokens=50, output_tokens=0, **given
            ),
        ]
    )
    answer = await http.get("/v1/usage", headers=token_mint.headers(tenant_id=1, user_id=user))
    assert answer.status_code == 200
    usage = answer.json()
    whole = {
        "input_tokens": 700, "output_tokens": 300, "embedding_tokens": 50, "total_tokens": 1050, "cost": 0.000286,
        "currency": "USD",
    }  # fmt: skip
    assert usage["last_24h"] == usage["last_7d"] == whole
    assert usage["period"].items() >= whole.items()
    assert usage["quota"]["tokens"] == {
        "limit": 50_000_000, "used": 1050, "held": 1000, "remaining": 49_997_950,
    }  # fmt: skip
    assert usage["quota"]["cost"]["limit"] == 250
    assert usage["quota"]["documents"] == {"limit": 10_000, "used": 0, "held": 0, "remaining": 10_000}
    assert usage["quota"]["resets_at"] == usage["period"]["ends_at"]
    assert usage["me"]["last_24h"]["total_tokens"] == 1000
    assert usage["me"]["quota"] is None
    key = {"sub_type": "key", "scope": "usage.read", "user": str(user)}
    of_key = await http.get("/v1/usage", headers=token_mint.headers(tenant_id=1, claims=key))
    assert of_key.json()["me"] == usage["me"]
    assert [model["model"] for model in usage["by_model"]] == ["gpt-4o-mini", "text-embedding-3-small"]
    assert usage["by_user"] is None


@pytest.mark.parametrize(("role", "sees"), [("owner", True), ("admin", True), ("member", False)])
async def test_only_owners_and_admins_see_each_user(
    http: httpx2.AsyncClient, token_mint: TokenMint, role: str, sees: bool
) -> None:
    answer = await http.get("/v1/usage", headers=token_mint.headers(tenant_id=1, role=role))
    assert (answer.json()["by_user"] == []) is sees


async def test_usage_needs_a_token_of_the_tenant(http: httpx2.AsyncClient, token_mint: TokenMint) -> None:
    assert (await http.get("/v1/usage")).status_code == 401
    headers = {**token_mint.headers(tenant_id=1), "X-Tenant-ID": "2"}
    answer = await http.get("/v1/usage", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")


async def test_another_tenant_sees_nothing_of_it(http: httpx2.AsyncClient, token_mint: TokenMint) -> None:
    await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    usage = (await http.get("/v1/usage", headers=token_mint.headers(tenant_id=2, role="owner"))).json()
    assert (usage["quota"]["tokens"]["held"], usage["by_user"], usage["by_model"]) == (0, [], [])


async def test_the_public_schema_is_documented_and_hides_what_is_internal(http: httpx2.AsyncClient) -> None:
    schema = http.app.openapi()  # type: ignore[attr-defined] - set by the fixture
    assert [path for path in schema["paths"] if not path.endswith("z")] == [
        "/v1/usage", "/v1/operator/prices", "/v1/operator/tenants/{tenant_id}/quota",
    ]  # fmt: skip
    report = schema["components"]["schemas"]["UsageReport"]
    assert set(report["properties"]) == {
        "last_24h", "last_7d", "period", "quota", "me", "by_model", "by_user", "by_chatbot",
    }  # fmt: skip
    totals = schema["components"]["schemas"]["TokenTotals"]["properties"]
    assert all("description" in field for field in totals.values())
    assert totals["cost"]["type"] == "number"


async def test_readiness_is_what_a_request_needs(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/readyz")).json() == {"status": "ok", "checks": {"postgres": "ok", "auth": "ok"}}


QUOTA = "/v1/operator/tenants/{}/quota"


def operator_headers(mint: TokenMint) -> dict[str, str]:
    tenant = dict.fromkeys(("tenant", "tenant_slug", "role", "email"))
    return mint.headers(claims={**tenant, "typ": "operator", "scope": "operator"})


async def test_an_operator_sets_quotas_and_is_told_what_is_wrong(
    http: httpx2.AsyncClient, token_mint: TokenMint, database: ClonedDatabase
) -> None:
    operator = operator_headers(token_mint)
    unknown = await http.put(QUOTA.format(777), json={"tokens": 5}, headers=operator)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "tenant_unknown")
    assert "777" in unknown.json()["detail"]
    await http.post("/internal/holds", json=hold_body(), headers=INTERNAL)
    for body in (
        {"tokens": 10**20}, {"tokens": -1}, {"tokens": True}, {"documents": "5"}, {"cost": "NaN"}, {"cost": 1e-13},
        {"cost": "٣"}, {"cost": True}, {}, {"gold": 1},
    ):  # fmt: skip
        refused = await http.put(QUOTA.format(1), json=body, headers=operator)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    changed = await http.put(QUOTA.format(1), json={"tokens": 5000, "cost": 12.5, "bytes": None}, headers=operator)
    limits = {limit["unit"]: limit["limit"] for limit in changed.json()["limits"]}
    assert {unit: limits[unit] for unit in ("tokens", "cost", "bytes", "documents")} == {
        "tokens": 5000, "cost": 12.5, "bytes": None, "documents": 10_000,
    }  # fmt: skip
    assert (await http.get(QUOTA.format(1), headers=operator)).json() == changed.json()


async def test_an_operator_limits_only_users_that_the_tenant_has(
    http: httpx2.AsyncClient, token_mint: TokenMint, auth: FakeAuth
) -> None:
    operator, user, stranger = operator_headers(token_mint), uuid7(), uuid7()
    auth.users.append(user)
    await http.post("/internal/holds", json=hold_body(user), headers=INTERNAL)

    for path, someone, code in ((1, stranger, "user_unknown"), (777, user, "tenant_unknown")):
        for refused in (
            await http.put(QUOTA.format(path), json={"tokens": 5, "user_id": str(someone)}, headers=operator),
            await http.get(QUOTA.format(path), params={"user_id": str(someone)}, headers=operator),
        ):
            assert (refused.status_code, refused.json()["code"]) == (404, code)
            assert str(someone if path == 1 else path) in refused.json()["detail"]
    changed = await http.put(QUOTA.format(1), json={"tokens": 5, "user_id": str(user)}, headers=operator)
    shown = await http.get(QUOTA.format(1), params={"user_id": str(user)}, headers=operator)

    assert changed.json() == shown.json() and shown.json()["user_id"] == str(user)
    assert [limit["limit"] for limit in shown.json()["limits"] if limit["subject_type"] == "user"][:1] == [5]
    assert set(auth.tokens) == {operator["Authorization"]}


async def test_an_operator_adds_versions_of_prices(http: httpx2.AsyncClient, token_mint: TokenMint) -> None:
    operator = operator_headers(token_mint)
    price = {"model": "my-model*", "input": 0.5, "output": 1.5, "valid_from": "2026-01-01T00:00:00Z"}
    added = await http.post("/v1/operator/prices", json=price, headers=operator)
    assert (added.status_code, added.json()["embedding"]) == (201, 0.5)
    again = await http.post("/v1/operator/prices", json=price, headers=operator)
    assert (again.status_code, again.json()["code"]) == (409, "price_exists")
    names = ({"model": "a\0b"}, {"provider": "a\u202eb"}, {"model": "my*model"}, {"model": "my**"})
    for wrong in ({"input": -1}, {"input": 0.0000001}, {"output": 10**9}, *names):
        refused = await http.post("/v1/operator/prices", json={**price, **wrong}, headers=operator)
        assert refused.status_code == 422
    now = datetime.now(UTC)
    later = {**price, "valid_from": (now + timedelta(days=1)).isoformat()}
    newer = {**price, "valid_from": (now - timedelta(days=1)).isoformat()}
    planned, current = [await http.post("/v1/operator/prices", json=one, headers=operator) for one in (later, newer)]

    async def listed(**query: str) -> list[dict[str, Any]]:
        answer = await http.get("/v1/operator/prices", params=query, headers=operator)
        return [item for item in answer.json()["items"] if item["model"] == "my-model*"]

    assert await listed() == [current.json()]
    assert await listed(all="true") == [one.json() for one in (planned, current, added)]


async def test_a_price_is_set_once_for_each_key(http: httpx2.AsyncClient, token_mint: TokenMint) -> None:
    headers = operator_headers(token_mint) | {"Idempotency-Key": "price-1"}
    price = {"model": "my-model", "input": 1, "output": 2}  # from now, so that a second one would be another version
    first, again = [await http.post("/v1/operator/prices", json=price, headers=headers) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content)
    other = await http.post("/v1/operator/prices", json={**price, "input": 3}, headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"
    listed = await http.get("/v1/operator/prices", params={"all": "true"}, headers=headers)
    assert [item["input"] for item in listed.json()["items"] if item["model"] == "my-model"] == [1]


@pytest.mark.parametrize("path", [QUOTA.format(1), "/v1/operator/prices"])
async def test_operators_paths_are_for_operators(http: httpx2.AsyncClient, token_mint: TokenMint, path: str) -> None:
    assert (await http.get(path)).status_code == 401
    assert (await http.get(path, headers=token_mint.headers(tenant_id=1, role="owner"))).status_code == 403


async def test_what_is_stored_is_counted_by_the_rows_when_events_were_lost(
    http: httpx2.AsyncClient, token_mint: TokenMint
) -> None:
    user, ids = uuid7(), [uuid7() for _ in range(3)]
    rows = [
        {"document_id": str(one), "tenant_id": 1, "user_id": str(user), "size_bytes": 100, "pages": 4, "generation": 1}
        for one in ids
    ]
    rows[2] |= {"pages": 0, "generation": 0}

    async def used() -> dict[str, float]:
        quota = (await http.get(QUOTA.format(1), headers=operator_headers(token_mint))).json()
        return {limit["unit"]: limit["used"] for limit in quota["limits"]}

    assert (await http.post("/internal/holdings", json={"items": rows})).status_code == 403
    for changed in (3, 0):
        answer = await http.post("/internal/holdings", json={"items": rows}, headers=INTERNAL)
        assert answer.json()["corrected"] == changed
    assert (await http.post("/internal/holdings/sums", params={"after": 0})).status_code == 403
    sums = await http.post("/internal/holdings/sums", params={"after": 0}, headers=INTERNAL)
    assert sums.json() == {"corrected": 0, "after": None}
    assert {unit: (await used())[unit] for unit in ("documents", "pages", "bytes")} == {
        "documents": 3, "pages": 8, "bytes": 300,
    }  # fmt: skip
    first = (await http.get("/internal/holdings", params={"limit": 2}, headers=INTERNAL)).json()["items"]
    rest = await http.get("/internal/holdings", params={"after": str(ids[1])}, headers=INTERNAL)
    assert [*first, *rest.json()["items"]] == [row | {"is_gone": False} for row in rows]

    await http.post("/internal/holdings", json={"items": [rows[0] | {"is_gone": True}]}, headers=INTERNAL)
    assert {unit: (await used())[unit] for unit in ("documents", "pages", "bytes")} == {
        "documents": 2, "pages": 4, "bytes": 200,
    }  # fmt: skip


async def test_every_tenant_is_recounted_however_many_pages_they_are(
    http: httpx2.AsyncClient, database: ClonedDatabase
) -> None:
    async with database.connect() as connection:
        await connection.execute(
            "INSERT INTO usage.subscriptions (tenant_id, plan_code)"
            " SELECT n, 'standard' FROM generate_series(1, 201) n ORDER BY md5(n::text);"
            "INSERT INTO usage.stored_documents (tenant_id, document_id, bytes, is_uploaded, seen_at)"
            " SELECT n, md5(n::text)::uuid, n, true, now() FROM generate_series(1, 201) n"
        )

    async def recount(after: int) -> dict[str, Any]:
        answer = await http.post("/internal/holdings/sums", params={"after": after}, headers=INTERNAL)
        return answer.json()

    assert [await recount(after) for after in (0, 100, 200)] == [
        {"corrected": 100, "after": 100}, {"corrected": 100, "after": 200}, {"corrected": 1, "after": None},
    ]  # fmt: skip
    async with database.connect() as connection:
        wrong = "SELECT tenant_id FROM usage.budgets WHERE unit = 'bytes' AND used <> tenant_id"
        assert await connection.fetch(wrong) == []
    assert await recount(100) == {"corrected": 0, "after": 200}
