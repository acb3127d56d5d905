"""Operators: their credential, its token, and what it opens."""

from typing import Any

from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, SignUp, SignUpMode
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.operator_keys import OperatorKey, new_operator_key, parse_operator_key
from docuchat_common.http.pages import encode_cursor
from docuchat_setup.operator import make_operator

TOKEN, TENANTS, ROTATE = "/v1/operator/token", "/v1/operator/tenants", "/v1/operator/signing-keys/rotate"


async def make(auth: Any, name: str = "ops") -> OperatorKey:
    """What `docuchat_setup operator` does."""
    key = new_operator_key()
    await auth.query("SELECT auth.make_operator_v1($1, $2, $3)", key.id, name, key.secret_hash)
    return key


async def bearer(auth: Any, key: OperatorKey) -> dict[str, str]:
    answer = await auth.http.post(TOKEN, json={"key": key.text})
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 900)
    assert answer.headers["cache-control"] == "no-store"
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_an_operator_creates_a_closed_tenant_whose_owner_signs_in(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    body = {"slug": "acme", "name": "Acme", "owner": "Ann@Example.com"}
    made = await auth.http.post(TENANTS, json=body, headers=headers)
    assert (made.status_code, made.json()["signup_open"]) == (201, False)
    assert (await auth.http.post(TENANTS, json=body, headers=headers)).status_code == 200
    taken = await auth.http.post(TENANTS, json={**body, "owner": "eve@example.com"}, headers=headers)
    assert (taken.status_code, taken.json()["code"]) == (409, "tenant_taken")
    for wrong in ({"owner": None}, {"name": "a\0b"}, {"name": "\u202eemca"}, {"name": "a\r\nb"}, {"signup_open": 1}):
        refused = await auth.http.post(TENANTS, json=body | wrong, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input"), wrong
    typo = await auth.post("/v1/auth/request-code", {"email": "ann@example.com", "chalenge": "x"}, "acme")
    assert (typo.status_code, typo.json()["errors"][0]["field"]) == (422, "body.chalenge")

    owner = await auth.tokens_of("ann@example.com", "acme")
    me = await auth.http.get("/v1/users/me", headers={"Authorization": f"Bearer {owner['access_token']}"})
    assert (me.json()["role"], me.json()["tenant"]["slug"]) == ("owner", "acme")
    assert (await auth.post("/v1/auth/request-code", {"email": "eve@example.com"}, "acme")).status_code == 202
    assert "email=eve@example.com" not in auth.log()
    customer = made.json()["customer_id"]
    people = {"signup": "domains", "domains": ["Acme.example"]}
    changed = await auth.http.patch(f"{TENANTS}/{customer}", json=people, headers=headers)
    assert (changed.json()["signup"], changed.json()["domains"]) == ("domains", ["acme.example"])
    assert await auth.tokens_of("bob@acme.example", customer)
    for wrong in ({}, {"signup": "domains"}, {"signup": "open", "domains": ["a.example"]}, {"signup": "anybody"}):
        assert (await auth.http.patch(f"{TENANTS}/acme", json=wrong, headers=headers)).status_code == 422, wrong
    opened = await auth.http.patch(f"{TENANTS}/acme", json={"signup_open": True}, headers=headers)
    assert (opened.json()["signup_open"], opened.json()["signup"], opened.json()["domains"]) == (True, "open", [])
    assert await auth.tokens_of("eve@example.com", "acme")

    first = (await auth.http.get(TENANTS, params={"limit": 1}, headers=headers)).json()
    second = (await auth.http.get(TENANTS, params={"cursor": first["next_cursor"]}, headers=headers)).json()
    assert [tenant["slug"] for tenant in first["items"] + second["items"]] == ["demo", "acme"]
    assert second["next_cursor"] is None
    assert (await auth.http.get(TENANTS, params={"cursor": encode_cursor(2**31)}, headers=headers)).status_code == 422


async def test_a_tenant_is_created_once_for_each_key(auth: Any) -> None:
    headers = await bearer(auth, await make(auth)) | {"Idempotency-Key": "tenant-1"}
    body = {"slug": "acme", "name": "Acme", "owner": "ann@example.com"}
    made, again = [await auth.http.post(TENANTS, json=body, headers=headers) for _ in range(2)]
    assert (made.status_code, again.status_code, again.content) == (201, 201, made.content)
    other = await auth.http.post(TENANTS, json={**body, "slug": "acme2"}, headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"


async def test_an_operator_finds_a_tenants_users_and_no_others(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    await auth.http.post(TENANTS, json={"slug": "acme", "name": "Acme", "owner": "eve@example.com"}, headers=headers)
    for name in ("ann", "bob"):
        await auth.tokens_of(f"{name}@example.com")

    async def found(tenant: str = "demo", **params: Any) -> Any:
        return (await auth.http.get(f"{TENANTS}/{tenant}/users", params=params, headers=headers)).json()

    first = await found(limit=1)
    second = await found(cursor=first["next_cursor"])
    ann, bob = users = first["items"] + second["items"]
    assert [(user["email"], user["role"]) for user in users] == [
        ("ann@example.com", "owner"), ("bob@example.com", "member"),
    ]  # fmt: skip
    assert second["next_cursor"] is None and ann["last_login_at"]
    assert (await found(email="Bob@Example.com"))["items"] == (await found("1", user_id=bob["id"]))["items"] == [bob]
    assert (await found("acme", user_id=bob["id"]))["items"] == (await found("acme", email=ann["email"]))["items"] == []
    assert (await found("nobody"))["code"] == "tenant_not_found"
    assert (await found(email="nobody"))["code"] == "invalid_input"


async def test_users_and_operators_do_not_open_each_others_doors(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com'))['access_token']}"}
    paths = [("GET", TENANTS), ("POST", TENANTS), ("PATCH", f"{TENANTS}/demo"), ("GET", f"{TENANTS}/demo/users")]
    for method, path in (*paths, ("POST", ROTATE)):
        refused = await auth.http.request(method, path, json={}, headers=owner)
        assert (refused.status_code, refused.json()["code"]) == (403, "operator_required"), path
        assert (await auth.http.request(method, path, json={})).status_code == 401
    crossed = await auth.http.get("/v1/users/me", headers=headers)
    assert (crossed.status_code, crossed.json()["code"]) == (401, "operator_token")


async def test_a_wrong_or_ended_credential_gives_no_token(auth: Any) -> None:
    first = await make(auth)
    wrong_secret = first.text[:-1] + ("0" if first.text[-1] != "0" else "1")
    for text in (wrong_secret, new_operator_key().text, "dco_", "no key"):
        refused = await auth.http.post(TOKEN, json={"key": text})
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_operator_key")
    second = await make(auth)  # the same name: the older one ends
    assert (await auth.http.post(TOKEN, json={"key": first.text})).status_code == 401
    assert await bearer(auth, second)
    rows = await auth.query("SELECT revoked_at, last_used_at FROM auth.operators ORDER BY created_at")
    assert [(row["revoked_at"] is None, row["last_used_at"] is None) for row in rows] == [(False, True), (True, False)]
    assert second.text not in auth.log()


async def test_only_failures_of_an_address_are_counted(auth: Any) -> None:
    key = await make(auth)
    answers = [await auth.http.post(TOKEN, json={"key": key.text}) for _ in range(62)]
    assert {answer.status_code for answer in answers} == {200}
    wrong = [await auth.http.post(TOKEN, json={"key": new_operator_key().text}) for _ in range(61)]
    assert [answer.status_code for answer in wrong] == [401] * 60 + [429]
    assert await bearer(auth, key)  # somebody else's junk refuses nobody who is right


async def test_an_operator_rotates_and_revokes_signing_keys(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    rotated = await auth.http.post(ROTATE, headers=headers)
    assert rotated.status_code == 200
    published = (await auth.http.get("/.well-known/jwks.json")).json()["keys"]
    assert len(published) == 2 and rotated.json()["kid"] in {key["kid"] for key in published}
    revoked = await auth.http.post(ROTATE, json={"revoke": True}, headers=headers)
    assert [row["kid"] for row in await auth.query("SELECT kid FROM auth.signing_keys")] == [revoked.json()["kid"]]


def test_a_credential_is_read_as_it_was_made_and_does_not_show() -> None:
    key = new_operator_key()
    assert parse_operator_key(f" {key.text}\n") == key
    assert key.text not in repr(key) and len(key.secret_hash) == 32
    assert new_operator_key().text != key.text
    for text in ("", "dco_1_2", key.text[:-1], key.text.upper(), key.text + "0"):
        assert parse_operator_key(text) is None


def told(events: list[Any]) -> list[tuple[str, str | None]]:
    return [(event.action, event.detail) for event in events if event.type == "audit.recorded.v1"]


async def test_all_that_changes_of_a_tenant_is_told(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant("quiet", is_open=False)
    before = len(told(await world.events()))
    domains = SignUp(SignUpMode.DOMAINS, frozenset({"b.example", "a.example"}))
    await world.tenants.change(tenant.id, signup=OPEN, is_suspended=False)
    await world.tenants.change(tenant.id, signup=domains, is_suspended=True)
    await world.founding.create("quiet", "Quiet", Email("ann@example.com"), signup=INVITED_ONLY)
    await world.founding.create("quiet", "Quiet", Email("ann@example.com"), signup=INVITED_ONLY)
    await world.founding.create("loud", "Loud", Email("ann@example.com"), signup=OPEN)
    assert told(await world.events())[before:] == [
        ("tenant.change", "signup open, active"),
        ("tenant.change", "signup domains a.example b.example, suspended"),
        ("tenant.create", "its first owner"),
        ("tenant.create", None),
        ("tenant.change", "signup open"),
    ]


async def test_a_new_credential_of_an_operator_is_told(make_world: Any, database: Any) -> None:
    await make_operator(database.owner_url, "ops")
    event, *_ = await (await make_world()).events()
    assert (event.tenant_id, told([event])) == (0, [("operator.make", None)])


async def test_the_tokens_of_a_credential_end_with_it_however_it_is_revoked(make_world: Any, database: Any) -> None:
    world = await make_world()
    ids = [parse_operator_key(await make_operator(database.owner_url, name)).id for name in ("a", "a", "b", "c")]
    await world.admin.execute("UPDATE auth.operators SET revoked_at = now() WHERE id = $1", ids[2])
    await world.admin.execute("UPDATE auth.operators SET revoked_at = now() WHERE id = $1", ids[2])
    await world.admin.execute("DELETE FROM auth.operators WHERE id = $1", ids[3])
    ended = {
        (one.tenant_id, one.kind, one.subject, one.state) for one in (await world.revisions.list_after(None)).items
    }
    assert ended == {(0, "key", str(ids[place]), "ended") for place in (0, 2, 3)}
