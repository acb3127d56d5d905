"""Second factors and passkeys over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp

from .authenticator import Authenticator
from .test_second_factors import ANN, BOB, GOOD


async def test_over_http_factors_are_set_up_asked_for_and_taken_away(auth: Any) -> None:
    """Each act writes its one entry: the routes themselves assert it. One process, as it takes long to start."""
    await a_passkey_is_registered_signs_in_and_is_removed(auth)
    await an_app_is_set_up_asked_for_and_taken_away(auth)


async def demand(auth: Any) -> None:
    """The owner of the tenant demands a second factor, who has none any more."""
    owner = {"Authorization": f"Bearer {(await auth.tokens_of(BOB))['access_token']}"}
    for wanted in (True, True, False, True):
        body = {"require_second_factor": wanted}
        changed = await auth.http.patch("/v1/tenant", json=body, headers=owner)
        assert (changed.status_code, changed.json()["require_second_factor"]) == (200, wanted)
    assert (await auth.http.patch("/v1/tenant", json={"require_second_factor": 1}, headers=owner)).status_code == 422


async def a_passkey_is_registered_signs_in_and_is_removed(auth: Any) -> None:
    own, door = "/v1/users/me/passkeys", "/v1/auth/passkeys"
    tokens = await auth.tokens_of(BOB)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    device = Authenticator()
    options = (await auth.http.post(f"{own}/options", headers=headers)).json()["publicKey"]
    surplus = {"authenticatorAttachment": "platform", "clientExtensionResults": {}}  # as browsers have it
    body = {"name": "Laptop", "credential": device.create(options) | surplus}
    made = await auth.http.post(own, json=body, headers=headers)
    assert (made.status_code, made.json()["name"], made.json()["backed_up"]) == (201, "Laptop", False)
    twice = await auth.http.post(own, json=body, headers=headers)
    assert (twice.status_code, twice.json()["code"]) == (422, "passkey_refused")

    asked = [(await auth.post(f"{door}/options", {}, None)) for _ in range(2)]
    first, second = ({**one.json()["publicKey"], "challenge": None} for one in asked)
    assert first == second and first["allowCredentials"] == [] and asked[0].headers["cache-control"] == "no-store"
    entered = await auth.post(door, {"credential": device.get(asked[0].json()["publicKey"])}, None)
    assert entered.status_code == 200 and entered.headers["cache-control"] == "no-store"
    again = await auth.post(door, {"credential": device.get(asked[0].json()["publicKey"])}, None)
    assert (again.status_code, again.json()["code"]) == (401, "invalid_passkey")
    for broken in ({}, {"credential": {}}, {"credential": {**device.get(options), "type": "password"}}):
        assert (await auth.post(door, broken, None)).status_code == 422

    headers = {"Authorization": f"Bearer {entered.json()['access_token']}"}
    (listed,) = (await auth.http.get(own, headers=headers)).json()["items"]
    assert listed["id"] == made.json()["id"] and listed["last_used_at"]
    state = (await auth.http.get("/v1/users/me/second-factor", headers=headers)).json()
    assert (state["passkeys"], state["asked_for"]) == (1, False)
    assert (await auth.http.delete(f"{own}/{listed['id']}", headers=headers)).status_code == 204
    assert (await auth.http.get(own, headers=headers)).json() == {"items": []}
    assert json.dumps(device.get(options)["response"]["signature"]) not in auth.log()


async def an_app_is_set_up_asked_for_and_taken_away(auth: Any) -> None:
    own = "/v1/users/me/second-factor"
    tokens = await auth.tokens_of(ANN)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await auth.http.put("/v1/users/me/password", json={"new": GOOD}, headers=headers)).status_code == 204
    nothing = {"totp": False, "passkeys": 0, "recovery_codes": 0, "required": False, "asked_for": False}
    assert (await auth.http.get(own, headers=headers)).json() == nothing
    begun = await auth.http.post(f"{own}/totp", headers=headers)
    assert begun.status_code == 200 and begun.headers["cache-control"] == "no-store"
    app = pyotp.TOTP(begun.json()["secret"])
    moment = datetime.now(UTC)
    confirmed = await auth.http.post(f"{own}/totp/confirm", json={"otp": app.at(moment)}, headers=headers)
    codes = confirmed.json()["recovery_codes"]
    assert (confirmed.status_code, len(codes)) == (200, 10)

    body = {"email": ANN, "password": GOOD}
    refused = await auth.post("/v1/auth/login", body)
    assert (refused.status_code, refused.json()["code"]) == (401, "otp_required")
    assert refused.json()["methods"] == ["totp", "recovery_code"]
    wrong = await auth.post("/v1/auth/login", {**body, "otp": "not a code"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "otp_invalid")
    form = {"grant_type": "password", "username": ANN, "password": GOOD}
    told = (await auth.http.post("/v1/auth/token", data=form)).json()
    assert (told["code"], told["error"], told["error_description"]) == ("otp_required", "invalid_grant", told["detail"])
    entered = await auth.http.post(  # as a page of documentation sends it, which has no field of its own for the code
        "/v1/auth/token", data=form, auth=("demo", app.at(moment + timedelta(seconds=30)))
    )
    assert entered.status_code == 200 and entered.json()["scope"] is None
    told = (await auth.http.post("/v1/auth/token", data={**form, "client_secret": "000000"})).json()
    assert (told["code"], told["error"]) == ("otp_invalid", "invalid_grant")
    told = (await auth.http.post("/v1/auth/token", content=b"{")).json()
    assert (told["code"], told["error"]) == ("invalid_input", "invalid_request")
    code = {"email": ANN, "code": await auth.code_of(ANN)}
    assert (await auth.post("/v1/auth/verify-code", code)).json()["code"] == "otp_required"
    last = await auth.post("/v1/auth/verify-code", {**code, "otp": codes[0]})
    assert last.status_code == 200

    headers = {"Authorization": f"Bearer {last.json()['access_token']}"}
    renewed = await auth.http.post(f"{own}/recovery-codes", headers=headers)
    assert len(renewed.json()["recovery_codes"]) == 10 and not set(codes) & set(renewed.json()["recovery_codes"])
    assert (await auth.http.delete(f"{own}/totp", headers=headers)).status_code == 204
    assert (await auth.http.delete(f"{own}/totp", headers=headers)).json()["code"] == "totp_not_found"
    await demand(auth)
    restricted = (await auth.post("/v1/auth/login", body)).json()
    assert restricted["scope"] == "account.use"
    headers = {"Authorization": f"Bearer {restricted['access_token']}"}
    barred = await auth.http.get("/v1/api-keys", headers=headers)
    assert (barred.status_code, barred.json()["code"]) == (403, "second_factor_required")
    assert (await auth.http.get(own, headers=headers)).json() == nothing | {"required": True}
    log = auth.log()
    assert not [secret for secret in (*codes, app.secret) if secret in log]
