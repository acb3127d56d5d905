"""Registering: who comes in, who owns what, and what somebody gains by another's address."""

import asyncio
from typing import Any

from docuchat_auth.registrations.domain import new_slug

from .test_passwords import GOOD, LOGIN, OTHER, PASSWORD, REGISTER, bearer, login, member

ANN, VERIFY_EMAIL = "ann@example.com", "/v1/auth/verify-email"


async def register(auth: Any, tenant: str | None = "1", **body: Any) -> Any:
    return await auth.post(REGISTER, {"email": ANN, "password": GOOD, **body}, tenant)


def last_code(auth: Any) -> str:
    return str(auth.log().rpartition("code_issued code=")[2][:6])


async def me(auth: Any, tokens: Any) -> Any:
    return (await auth.http.get("/v1/users/me", headers=bearer(tokens))).json()


async def test_an_open_tenant_takes_whoever_registers_and_the_address_is_proven_later(auth: Any) -> None:
    await auth.tokens_of("owner@example.com")
    made = await register(auth, name="Ann Example")
    assert made.status_code == 201 and made.headers["cache-control"] == "no-store"
    body = made.json()
    user = body["user"]
    assert (user["email"], user["email_verified"], user["name"], user["role"]) == (ANN, False, "Ann Example", "member")
    assert await me(auth, body) == user
    status, again = await login(auth)
    assert status == 200
    rows = await auth.query("SELECT email, claimed_email FROM auth.users WHERE name = 'Ann Example'")
    assert [tuple(row) for row in rows] == [(None, ANN)]
    wrong = {"code": f"{(int(last_code(auth)) + 1) % 10**6:06d}"}
    assert (await auth.http.post(VERIFY_EMAIL, json=wrong, headers=bearer(again))).json()["code"] == "invalid_code"
    proof = {"code": last_code(auth), "challenge": body["verification"]["challenge"]}
    assert (await auth.http.post(VERIFY_EMAIL, json=proof, headers=bearer(again))).status_code == 204
    assert (await me(auth, again))["email_verified"] is True
    nothing = await auth.http.post(f"{VERIFY_EMAIL}/request", headers=bearer(again))
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_verify")
    assert (await me(auth, await auth.tokens_of(ANN)))["id"] == user["id"]


async def test_who_registers_with_anothers_address_gains_nothing(auth: Any) -> None:
    owner = await member(auth, password=OTHER)
    shapes = []
    for email in (ANN, "nobody@example.com"):
        made = await register(auth, email=email)
        shapes.append((made.status_code, sorted(made.json()), sorted(made.json()["user"])))
        assert made.json()["user"]["role"] == "member"
    assert shapes[0] == shapes[1]
    thief = (await register(auth)).json()
    assert thief["user"]["id"] != (await me(auth, owner))["id"]
    assert (await login(auth, password=OTHER))[0] == 200  # the owner's password is the owner's
    assert (await me(auth, (await login(auth))[1]))["id"] == thief["user"]["id"]
    # and when the address becomes proven by its owner, the thief has no part in it
    code = last_code(auth)
    told = await auth.http.post(VERIFY_EMAIL, json={"code": code}, headers=bearer(thief))
    assert (told.status_code, told.json()["code"]) == (409, "already_registered")
    later = await register(auth, email="victim@example.com")
    victim = await auth.tokens_of("victim@example.com")
    assert (await me(auth, victim))["id"] != later.json()["user"]["id"]
    assert (await auth.http.put(PASSWORD, json={"new": OTHER}, headers=bearer(victim))).status_code == 204
    assert (await me(auth, (await login(auth, "victim@example.com", OTHER))[1]))["id"] == (await me(auth, victim))["id"]


async def test_by_domain_the_address_is_proven_before_there_is_a_user(auth: Any) -> None:
    auth.command("create-tenant", "--slug", "acme", "--signup", "domains", "--domain", "example.com")
    first = await register(auth, "acme")
    assert (first.status_code, first.json()["status"]) == (202, "sent")
    assert await auth.query("SELECT 1 FROM auth.users") == []
    bare = await register(auth, "acme", code="000000", challenge=first.json()["challenge"])
    assert bare.json()["code"] == "invalid_code"
    proof = {"code": last_code(auth), "challenge": first.json()["challenge"]}
    made = await register(auth, "acme", **proof)
    assert (made.status_code, made.json()["user"]["email_verified"], made.json()["verification"]) == (201, True, None)
    again = await register(auth, "acme", password=OTHER)
    assert (again.status_code, again.json().keys()) == (202, first.json().keys())
    proof = {"code": last_code(auth), "challenge": again.json()["challenge"]}
    known = await register(auth, "acme", password=OTHER, **proof)
    assert (known.status_code, known.json()["code"]) == (409, "already_registered")
    assert (await login(auth, tenant="acme"))[0] == 200
    stranger = await register(auth, "acme", email="eve@evil.example")
    assert (stranger.status_code, stranger.json()["code"]) == (403, "signup_closed")
    nameless = await auth.post(REGISTER, {"username": "eve", "password": GOOD}, "acme")
    assert (nameless.status_code, nameless.json()["code"]) == (403, "signup_closed")


async def test_nobody_joins_uninvited_nor_by_guessing_a_tenant(auth: Any) -> None:
    await auth.create_tenant("closed", is_open=False)
    answers = [await register(auth, tenant) for tenant in ("closed", "2", "99", "no-such-slug", None)]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "signup_closed")}
    assert len({answer.json()["detail"] for answer in answers[:-1]}) == 1
    assert answers[-1].json()["detail"].startswith("Name a tenant")
    founding = await register(auth, organization="Acme")
    assert (founding.status_code, founding.json()["code"]) == (403, "signup_closed")
    assert await auth.query("SELECT 1 FROM auth.users") == []


async def test_who_founds_a_tenant_owns_it_and_nobody_comes_before(run_auth: Any) -> None:
    async with run_auth(SELF_SERVICE_TENANTS="true") as auth:
        made = [await register(auth, None, organization="Acmé GmbH") for _ in range(2)]
        assert [answer.status_code for answer in made] == [201, 201]
        users = [answer.json()["user"] for answer in made]
        assert {user["role"] for user in users} == {"owner"}
        assert len({user["tenant"]["slug"] for user in users}) == 2
        assert users[0]["tenant"]["name"] == "Acmé GmbH"

        async def intrude(number: int) -> Any:
            return await register(auth, str(number), email="eve@example.com")

        race = await asyncio.gather(
            register(auth, None, organization="Race"), *(intrude(number) for number in range(3, 9) for _ in range(4))
        )
        assert {answer.status_code for answer in race[1:]} <= {403, 429}
        owners = await auth.query("SELECT role FROM auth.users WHERE claimed_email = 'eve@example.com'")
        assert owners == [] and race[0].json()["user"]["role"] == "owner"


async def test_only_a_local_run_gives_an_ownerless_tenant_to_who_comes_first(run_auth: Any) -> None:
    async with run_auth(ENVIRONMENT="production", SMTP_URL="smtp://127.0.0.1:9") as auth:
        made = await register(auth)
        assert (made.status_code, made.json()["user"]["role"]) == (201, "member")


async def test_a_user_name_is_unique_in_its_tenant_and_signs_in(auth: Any) -> None:
    await auth.create_tenant("second")
    for tenant in ("demo", "second"):
        made = await auth.post(REGISTER, {"username": "Ann.99", "password": GOOD}, tenant)
        assert (made.status_code, made.json()["user"]["username"], made.json()["user"]["email"]) == (
            201,
            "ann.99",
            None,
        )
    taken = await auth.post(REGISTER, {"username": "ann.99", "password": OTHER}, "demo")
    assert (taken.status_code, taken.json()["code"]) == (409, "username_taken")
    assert (await auth.post(LOGIN, {"username": "ann.99", "password": GOOD}, "demo")).status_code == 200
    assert (await auth.post(LOGIN, {"email": "ANN.99", "password": GOOD, "tenant": "2"}, None)).status_code == 200
    chosen = await auth.post(LOGIN, {"username": "ann.99", "password": GOOD}, None)
    assert chosen.json()["code"] == "choose_tenant"
    for wrong in ({}, {"username": "a b"}, {"username": "x"}, {"email": "a@b.example", "username": "c@d.example"}):
        assert (await auth.post(REGISTER, {"password": GOOD, **wrong})).status_code == 422, wrong
    mixed = await auth.post(REGISTER, {"username": "Bob@Example.com", "password": GOOD})
    assert (mixed.json()["user"]["email"], mixed.json()["user"]["username"]) == ("bob@example.com", None)


async def test_registrations_of_an_address_are_counted(run_auth: Any) -> None:
    async with run_auth(REGISTRATIONS_PER_ADDRESS="2/hour") as auth:
        statuses = [(await register(auth, email=f"user{number}@example.com")).status_code for number in range(3)]
        assert statuses == [201, 201, 429]


def test_a_slug_is_made_of_what_is_readable_and_of_chance() -> None:
    for name, begin in (("Acmé & Co. KG", "acme-co-kg-"), ("شرکت", "tenant-"), ("x" * 200, "x" * 40 + "-")):
        assert new_slug(name).startswith(begin) and len(new_slug(name)) <= 63 and new_slug(name) != new_slug(name)


async def test_with_a_key_who_registers_is_made_once_and_only_who_knows_the_password_is_told_again(
    run_auth: Any,
) -> None:
    async with run_auth(SELF_SERVICE_TENANTS="true") as auth:
        await auth.tokens_of("owner@example.com")
        key = {"Idempotency-Key": "the-same"}

        async def ask(tenant: str | None = "1", **body: Any) -> Any:
            return await auth.post(REGISTER, {"email": ANN, "password": GOOD, **body}, tenant, **key)

        for tenant, more in ((None, {"organization": "Acme"}), ("1", {})):
            made, again = [await ask(tenant, **more) for _ in range(2)]
            assert (made.status_code, again.status_code, again.content) == (201, 201, made.content)
            assert (again.headers["idempotent-replayed"], again.headers["cache-control"]) == ("true", "no-store")
            for changed in ({"password": OTHER}, {"name": "Somebody"}):
                other = await ask(tenant, **more, **changed)
                assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
        assert (await ask(email="bob@example.com")).status_code == 201  # another person's key is another one
        assert (await register(auth, tenant="1")).status_code == 201  # without one, it is what a repetition asks for
        tenants = await auth.query("SELECT id FROM auth.tenants")
        users = await auth.query("SELECT id FROM auth.users WHERE claimed_email = $1", ANN)
        assert (len(tenants), len(users)) == (2, 3)
        kept = str([tuple(row) for row in await auth.query("SELECT * FROM auth.idempotent_requests")])
        assert ANN not in kept and GOOD not in kept and "access_token" not in kept
