"""Domains and identity providers over HTTP, and a sign-in as a browser and a front end see it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest
from aiohttp import web

from docuchat_auth.federated_logins.domain import challenge_of, new_secret
from docuchat_common.clock import SystemClock

from .conftest import RunAuth
from .provider import CLIENT, CLIENT_SECRET, SigningProvider, query_of, serving_provider

RETURN = "https://app.example/signed-in"
PROVIDERS, DOMAINS, EXCHANGE = "/v1/identity-providers", "/v1/domains", "/v1/auth/oidc/exchange"


@pytest.fixture
async def provider() -> AsyncIterator[SigningProvider]:
    async with serving_provider(SystemClock()) as provider:
        yield provider


@pytest.fixture
async def auth(run_auth: RunAuth) -> AsyncIterator[Any]:
    async with run_auth(
        EGRESS_ALLOW_HTTP="true",
        EGRESS_NETWORKS="127.0.0.0/8",
        EGRESS_HOSTS="127.0.0.1",
        SIGN_IN_RETURN_URLS=RETURN,
        PUBLIC_URL="https://docuchat.example/",
        DNS_SERVERS="127.0.0.1:9",
        DNS_TIMEOUT="200ms",
    ) as running:
        yield running


@pytest.fixture
async def owner(auth: Any) -> dict[str, str]:
    tokens = await auth.tokens_of("boss@acme.example")
    await auth.query("UPDATE auth.tenants SET signup = 'invite', signup_open = false")
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_sign_in_from_the_first_page_to_the_tokens(auth: Any, owner: Any, provider: SigningProvider) -> None:
    body = {
        "name": "Acme",
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "jit": {"enabled": True},
    }
    keyed = owner | {"Idempotency-Key": "one"}
    made, again = [await auth.http.post(PROVIDERS, json=body, headers=keyed) for _ in range(2)]
    assert made.status_code == 201 and made.json() == again.json()
    view = made.json()
    assert CLIENT_SECRET not in made.text and "client_secret" not in view and view["has_client_secret"] is True
    assert view["redirect_uri"] == f"https://docuchat.example/v1/auth/oidc/callback/{view['id']}"
    (kept,) = await auth.query("SELECT string_agg(r::text, '') AS rows FROM auth.idempotent_requests AS r")
    assert CLIENT_SECRET not in kept["rows"]

    verifier = new_secret()
    start = view["start_url"].removeprefix("https://docuchat.example")
    asked = {"return_to": RETURN, "code_challenge": challenge_of(verifier)}
    begun = await auth.http.get(start, params=asked)
    cookie = begun.headers["set-cookie"]
    assert begun.status_code == 303 and cookie.startswith("__Host-docuchat-sign-in-")
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/", "Max-Age=600"} <= set(cookie.split("; ")), cookie
    assert begun.headers["cache-control"] == "no-store"

    provider.person = {"sub": "ann-at-acme", "email": "ann@acme.example", "email_verified": True}
    brought = provider.authorize(begun.headers["location"])
    back = await auth.http.get(
        f"/v1/auth/oidc/callback/{view['id']}",
        params={**brought, "session_state": "what else a provider says"},
        headers={"Cookie": cookie.split(";")[0]},
    )
    assert back.status_code == 303 and back.headers["location"].startswith(f"{RETURN}?code=")
    assert back.headers["referrer-policy"] == "no-referrer" and "docuchat-sign-in-" in back.headers["set-cookie"]
    shown = {"code": query_of(back.headers["location"])["code"], "code_verifier": verifier}
    done = await auth.http.post(EXCHANGE, json=shown)
    assert done.status_code == 200 and done.headers["cache-control"] == "no-store"
    claims = jwt.decode(done.json()["access_token"], options={"verify_signature": False})
    assert (claims["role"], claims["tenant"]) == ("member", 1)
    assert refusal(await auth.http.post(EXCHANGE, json=shown)) == (401, "invalid_sign_in_code")
    renewed = await auth.post("/v1/auth/refresh", {"refresh_token": done.json()["refresh_token"]})
    assert renewed.status_code == 200
    assert shown["code"] not in auth.log() and CLIENT_SECRET not in auth.log() and "ann@acme" not in auth.log()

    member = {"Authorization": f"Bearer {done.json()['access_token']}"}
    for path in (PROVIDERS, DOMAINS):
        assert refusal(await auth.http.get(path, headers=member)) == (403, "not_allowed")
    changed = await auth.http.patch(f"{PROVIDERS}/{view['id']}", json={"active": False}, headers=owner)
    assert changed.json() == view | {"active": False}
    assert refusal(await auth.http.get(start, params=asked)) == (404, "identity_provider_not_found")
    assert (await auth.http.delete(f"{PROVIDERS}/{view['id']}", headers=owner)).status_code == 204
    assert (await auth.http.get(PROVIDERS, headers=owner)).json()["items"] == []
    assert len(await auth.query("SELECT 1 FROM auth.users")) == 2, "the account stays"


async def test_what_cannot_be_is_refused(auth: Any, owner: Any, provider: SigningProvider) -> None:
    async def refused(**changes: Any) -> tuple[int, str]:
        body = {"name": "Acme", "issuer": provider.issuer, "client_id": CLIENT, **changes}
        return refusal(await auth.http.post(PROVIDERS, json=body, headers=owner))

    assert await refused(issuer="ftp://127.0.0.1/") == (422, "invalid_input")
    for unsafe in ({"issuer": f"{provider.issuer}/\x00"}, {"group_mappings": [{"value": "\x00", "role": "admin"}]}):
        assert await refused(**unsafe) == (422, "invalid_input")
    assert await refused(issuer="http://user@127.0.0.1/") == (422, "url_refused")
    assert await refused(issuer="http://127.0.0.1:port/") == (422, "url_refused")
    assert await refused(issuer="http://metadata/") == (422, "url_unreachable")
    assert await refused(jit={"enabled": True, "default_role": "owner"}) == (422, "invalid_input")
    nobody = "0197c0de-0000-7000-8000-000000000001"
    assert await refused(group_mappings=[{"value": "x", "group_id": nobody}]) == (404, "group_not_found")
    made = await auth.http.post(
        PROVIDERS, json={"name": "Acme", "issuer": provider.issuer, "client_id": CLIENT}, headers=owner
    )
    assert await refused(name="ACME") == (409, "identity_provider_name_taken")
    start = f"/v1/auth/oidc/demo/{made.json()['id']}/start"
    challenge = challenge_of(new_secret())
    wrong = await auth.http.get(start, params={"return_to": "https://evil.example", "code_challenge": challenge})
    assert refusal(wrong) == (422, "return_not_allowed")
    assert refusal(await auth.http.get(start, params={"return_to": RETURN})) == (422, "invalid_input")
    provider.odd["/.well-known/openid-configuration"] = lambda: web.Response(text="<html>")
    away = await auth.http.get(start, params={"return_to": RETURN, "code_challenge": challenge})
    assert refusal(away) == (503, "identity_provider_unavailable")
    unknown = await auth.http.get(f"/v1/auth/oidc/callback/{nobody}", params={"code": "a", "state": "b"})
    assert refusal(unknown) == (401, "sign_in_ended")

    added = await auth.http.post(DOMAINS, json={"domain": "Acme.example"}, headers=owner)
    assert added.status_code == 201 and added.json()["record"]["name"] == "_docuchat-challenge.acme.example"
    assert refusal(await auth.http.post(DOMAINS, json={"domain": "acme.example"}, headers=owner)) == (
        409,
        "domain_known",
    )
    one = f"{DOMAINS}/{added.json()['id']}"
    assert refusal(await auth.http.post(f"{one}/verify", headers=owner)) == (503, "dns_unavailable")
    assert (await auth.http.get(DOMAINS, headers=owner)).json()["items"] == [added.json()]
    assert (await auth.http.delete(one, headers=owner)).status_code == 204
    assert refusal(await auth.http.delete(one, headers=owner)) == (404, "domain_not_found")
