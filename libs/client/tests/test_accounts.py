"""Signing in by password, registering, and setting a password, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .conftest import USER, Command, Service, problem, token

SECRET = "seven purple harbours"


@pytest.fixture
def account(service: Service, tmp_path: Path) -> Command:
    """A command whose service signs anybody in who has the password."""
    signed_out = Command(tmp_path / "config")
    access = token("good")
    service.good_tokens.add(access)
    service.open_paths |= {"/v1/auth/login", "/v1/auth/register"}
    bodies: list[dict[str, object]] = []
    signed_out.environment["DOCUCHAT_PASSWORD"] = SECRET
    signed_out.environment["DOCUCHAT_SERVER"] = service.url

    async def login(request: Request) -> Response:
        body = await request.json()
        bodies.append(body)
        if body["password"] != SECRET:
            return problem(401, "invalid_credentials", "The address or the password is wrong.")
        return JSONResponse({"access_token": access, "refresh_token": "r", "device": "d" * 32})

    async def register(request: Request) -> Response:
        body = await request.json()
        bodies.append(body)
        if body["email"].endswith("@acme.example") and "code" not in body:
            return JSONResponse({"status": "sent", "expires_in": 600, "challenge": "c" * 32}, 202)
        tenant = {"id": 7, "slug": "acme", "name": "Acme"}
        made = {"access_token": access, "refresh_token": "r", "user": {**USER, "tenant": tenant}}
        if "organization" in body:
            made["verification"] = {"status": "sent", "expires_in": 600, "challenge": "c" * 32}
        return JSONResponse(made, 201)

    service.on("POST", "/v1/auth/login", login)
    service.on("POST", "/v1/auth/register", register)
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    service.bodies = bodies  # type: ignore[attr-defined]  # for the tests of this file
    return signed_out


async def test_a_device_that_has_signed_in_by_password_says_so_the_next_time(
    service: Service, account: Command
) -> None:
    done = await account("login", "--password", "--email", "a@example.com")
    assert done.code == 0 and "Signed in as a@example.com" in done.out, done.err
    kept = json.loads((account.folder / "credentials.json").read_text())
    assert kept["device"] == "d" * 32 and SECRET not in json.dumps(kept)
    await account("login", "--password", "--email", "a@example.com")
    await account("login", "--password", "--email", "ann.99")
    assert service.count("POST", "/v1/auth/logout") == 2  # the sign-in before, whose tokens are gone
    first, second, third = service.bodies  # type: ignore[attr-defined]
    assert "device" not in first and second["device"] == "d" * 32
    assert third == {"username": "ann.99", "password": SECRET}
    account.environment["DOCUCHAT_PASSWORD"] = "wrong"
    wrong = await account("login", "--password", "--email", "a@example.com")
    assert wrong.code == 3 and "[invalid_credentials]" in wrong.err


async def test_who_founds_a_tenant_works_in_it_from_then_on(service: Service, account: Command) -> None:
    done = await account("register", "--email", "a@example.com", "--organization", "Acme", "--name", "Ann")
    assert done.code == 0, done.err
    wanted = {"email": "a@example.com", "password": SECRET, "name": "Ann", "organization": "Acme"}
    assert service.bodies == [wanted]  # type: ignore[attr-defined]
    assert json.loads((account.folder / "credentials.json").read_text())["tenant"] == "7"
    assert service.count("POST", "/v1/auth/logout") == 0
    await account("register", "--email", "a@example.com", "--organization", "Second")
    assert service.count("POST", "/v1/auth/logout") == 1  # whose tokens were kept there before


async def test_an_address_is_proven_by_the_mailed_code(service: Service, account: Command) -> None:
    proofs = []

    async def prove(request: Request) -> Response:
        proofs.append(await request.json())
        return Response(status_code=204)

    service.on("POST", "/v1/auth/verify-email", prove)
    sent = {"status": "sent", "expires_in": 600, "challenge": "e" * 32}
    service.on("POST", "/v1/auth/verify-email/request", JSONResponse(sent, 202))
    made = await account("register", "--email", "a@example.com", "--organization", "Acme")
    assert "`docuchat verify-email` takes it" in made.err
    assert (await account("verify-email", text="123456\n")).out.endswith("The address is proven.\n")
    assert (await account("verify-email", "--again", "--code", "654321")).code == 0
    assert proofs == [{"code": "123456"}, {"code": "654321", "challenge": "e" * 32}]


async def test_an_address_that_must_be_proven_first_is_asked_for_its_code(service: Service, account: Command) -> None:
    done = await account("register", "--email", "a@acme.example", text="123456\n")
    assert done.code == 0 and "A code was sent to a@acme.example" in done.err, done.err
    again = service.bodies[1]  # type: ignore[attr-defined]
    assert (again["code"], again["challenge"]) == ("123456", "c" * 32)


async def test_a_password_is_set_with_the_present_one(service: Service, account: Command) -> None:
    await account("login", "--password", "--email", "a@example.com")
    seen = []

    async def put(request: Request) -> Response:
        seen.append(await request.json())
        return Response(status_code=204)

    service.on("PUT", "/v1/users/me/password", put)
    account.environment["DOCUCHAT_NEW_PASSWORD"] = "another long secret"
    done = await account("password")
    assert (done.code, seen) == (0, [{"new": "another long secret", "current": SECRET}])
