"""Users see where they are signed in and end what is not theirs any more."""

from datetime import datetime
from typing import Any


async def signed_in(auth: Any, email: str, **headers: str) -> tuple[dict[str, str], str]:
    """The headers of somebody who has just signed in, and the refresh token."""
    code = await auth.code_of(email)
    answer = await auth.post("/v1/auth/verify-code", {"email": email, "code": code}, **headers)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}, answer.json()["refresh_token"]


async def test_a_user_lists_the_own_sessions_and_ends_them(auth: Any) -> None:
    _, phone_refresh = await signed_in(auth, "ann@example.com", **{"User-Agent": "Phone/1 " + "x" * 300})
    laptop, laptop_refresh = await signed_in(auth, "ann@example.com", **{"User-Agent": "Laptop/1"})
    stranger, _ = await signed_in(auth, "eve@example.com")

    newest, older = (await auth.http.get("/v1/sessions", headers=laptop)).json()["items"]
    assert (newest["device"], newest["is_current"]) == ("Laptop/1", True)
    assert (older["device"], older["is_current"]) == (("Phone/1 " + "x" * 300)[:120], False)
    assert newest["address"] == "127.0.0.1"
    began, used = (datetime.fromisoformat(older[name]) for name in ("created_at", "last_used_at"))
    assert abs((used - began).total_seconds()) < 60
    first = (await auth.http.get("/v1/sessions", params={"limit": 1}, headers=laptop)).json()
    rest = (await auth.http.get("/v1/sessions", params={"cursor": first["next_cursor"]}, headers=laptop)).json()
    assert [one["id"] for one in first["items"] + rest["items"]] == [newest["id"], older["id"]]

    moved = await auth.post("/v1/auth/refresh", {"refresh_token": phone_refresh}, **{"User-Agent": "Phone/2"})
    assert moved.status_code == 200
    _, older = (await auth.http.get("/v1/sessions", headers=laptop)).json()["items"]
    assert older["device"] == "Phone/2"
    assert datetime.fromisoformat(older["last_used_at"]) > used

    foreign = await auth.http.delete(f"/v1/sessions/{older['id']}", headers=stranger)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "session_not_found")
    for _ in range(2):
        assert (await auth.http.delete(f"/v1/sessions/{older['id']}", headers=laptop)).status_code == 204
    ended = await auth.post("/v1/auth/refresh", {"refresh_token": moved.json()["refresh_token"]})
    assert ended.status_code == 401
    told = await auth.query("SELECT state FROM auth.revisions WHERE kind = 'session' AND subject = $1", older["id"])
    assert [row["state"] for row in told] == ["ended"]

    _, other_refresh = await signed_in(auth, "ann@example.com")
    assert (await auth.http.delete("/v1/sessions", headers=laptop)).status_code == 204
    assert [one["id"] for one in (await auth.http.get("/v1/sessions", headers=laptop)).json()["items"]] == [
        newest["id"]
    ]
    assert (await auth.post("/v1/auth/refresh", {"refresh_token": other_refresh})).status_code == 401
    assert (await auth.post("/v1/auth/refresh", {"refresh_token": laptop_refresh})).status_code == 200
    assert len((await auth.http.get("/v1/sessions", headers=stranger)).json()["items"]) == 1
    assert "Phone/" not in auth.log()

    renamed = await auth.http.patch("/v1/users/me", json={"name": "Ann"}, headers=laptop)
    assert renamed.json()["name"] == "Ann" and renamed.json()["updated_at"] != renamed.json()["created_at"]
    assert (await auth.http.get("/v1/users/me", headers=laptop)).json()["name"] == "Ann"
    assert (await auth.http.patch("/v1/users/me", json={"role": "owner"}, headers=laptop)).status_code == 422
