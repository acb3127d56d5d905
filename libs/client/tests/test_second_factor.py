"""The second factor, as commands."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .conftest import CHAT, NOW, USER, Command, Service, problem, token

OWN = "/v1/users/me/second-factor"


async def test_an_authenticator_app_is_set_up_shown_and_removed(service: Service, docuchat: Command) -> None:
    confirmed: list[Any] = []

    async def confirm(request: Request) -> Response:
        confirmed.append(await request.json())
        return JSONResponse({"recovery_codes": ["mfrg-gzdf", "qwer-tyui"]})

    factors = {"totp": True, "passkeys": 1, "recovery_codes": 9, "required": True, "asked_for": True}
    service.on("GET", OWN, JSONResponse(factors))
    service.on("POST", f"{OWN}/totp", JSONResponse({"secret": "JBSW", "otpauth_uri": "otpauth://totp/x"}))
    service.on("POST", f"{OWN}/totp/confirm", confirm)
    service.on("POST", f"{OWN}/recovery-codes", JSONResponse({"recovery_codes": ["asdf-ghjk"]}))
    service.on("DELETE", f"{OWN}/totp", Response(status_code=204))

    made = await docuchat("second-factor", "set-up", text="123456\n")
    assert made.code == 0, made.err
    assert "otpauth://totp/x\nJBSW\n" in made.out and made.out.endswith("mfrg-gzdf\nqwer-tyui\n")
    assert confirmed == [{"otp": "123456"}]
    shown = await docuchat("second-factor", "show")
    assert "set up; passkeys: 1" in shown.out and "left: 9" in shown.out and "demands" in shown.out
    assert (await docuchat("second-factor", "recovery-codes")).out == "asdf-ghjk\n"
    assert (await docuchat("second-factor", "remove", "--yes")).code == 0


async def test_a_sign_in_by_code_asks_for_the_second_factor_and_again_when_it_is_wrong(
    service: Service, signed_out: Command
) -> None:
    access, bodies = token("good"), []
    service.good_tokens.add(access)
    service.on("POST", "/v1/auth/request-code", JSONResponse({"status": "sent", "expires_in": 600}, 202))
    service.on("GET", "/v1/users/me", JSONResponse(USER))

    async def verify(request: Request) -> Response:
        bodies.append(await request.json())
        match bodies[-1].get("otp"):
            case None:
                return problem(401, "otp_required", "The account has a second factor.", methods=["passkey"])
            case "wrong":
                return problem(401, "otp_invalid", "The code of the second factor is wrong.")
        return JSONResponse({"access_token": access, "refresh_token": "r"})

    service.on("POST", "/v1/auth/verify-code", verify)
    arguments = ("login", "--email", "a@example.com", "--server", service.url)
    wrong = await signed_out(*arguments, text="123456\nwrong\nwrong\nwrong\n")
    assert [body.get("otp") for body in bodies] == [None, "wrong", "wrong", "wrong"]
    bodies.clear()
    done = await signed_out(*arguments, text="123456\nwrong\nmfrg-gzdf\n")
    assert wrong.code == 3 and "[otp_invalid]" in wrong.err and "docuchat login" not in wrong.err
    assert done.code == 0 and "recovery code does" in done.err, done.err
    assert [body.get("otp") for body in bodies] == [None, "wrong", "mfrg-gzdf"]
    assert done.err.count("look again") == 1 and "set-up" not in done.err


async def test_who_must_set_a_second_factor_up_is_told_how_and_goes_on_with_a_new_token(
    service: Service, docuchat: Command
) -> None:
    sign_in = JSONResponse({"access_token": next(iter(service.good_tokens)), "refresh_token": "r1"})
    service.on("POST", "/v1/auth/verify-code", sign_in)
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    service.on("GET", OWN, JSONResponse({"totp": False, "passkeys": 0, "required": True}))
    refusal = problem(403, "second_factor_required", "Set one up (/v1/users/me/second-factor), then refresh the token.")
    service.on("GET", "/v1/groups", refusal, refusal, JSONResponse({"items": []}))

    login = ("login", "--email", "a@example.com", "--code", "123456", "--server", service.url)
    assert "until `docuchat second-factor set-up` you may do nothing else" in (await docuchat(*login)).err
    refused = await docuchat("groups", "list")
    assert refused.code == 3 and "with `docuchat second-factor set-up` [" in refused.err
    assert service.count("POST", "/v1/auth/refresh") == 1
    service.refreshes["r1"] = (token("second"), "r2")
    assert (await docuchat("groups", "list")).code == 0
    assert service.count("POST", "/v1/auth/refresh") == 2


async def test_an_admin_takes_the_second_factor_of_somebody_away(service: Service, docuchat: Command) -> None:
    ben = {"id": CHAT, "email": "ben@example.com", "role": "member", "is_active": True, "created_at": NOW}
    service.on("GET", "/v1/users", JSONResponse({"items": [ben]}))
    service.on("DELETE", f"/v1/users/{CHAT}/second-factor", Response(status_code=204))
    done = await docuchat("users", "reset-second-factor", "ben@example.com", "--yes")
    assert (done.code, done.out) == (0, "ben@example.com signs in without a second factor.\n")
