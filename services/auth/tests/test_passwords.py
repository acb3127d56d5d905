"""Passwords: signing in by them, changing and resetting them, and what strangers learn and spoil."""

import asyncio
import json
import os
import random
import statistics
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import bcrypt
import pytest

from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.logins.domain import Attempt, Candidate
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.passwords.errors import InvalidCredentials, PasswordsBusy, PasswordTooWeak
from docuchat_auth.passwords.hashing import PasswordPool, is_outdated
from docuchat_auth.passwords.strength import require_strength
from docuchat_auth.users.domain import Email
from docuchat_testkit.eventually import eventually

from .conftest import SECRET

WEAK = (
    "password", "12345678", "qwertyuiop", "aaaaaaaa", "docuchat", "ann@example.com", "P@ssw0rd",
    "password" * 25, "qwertyuiop" * 5, "ann@example.com" * 5, "password" * 4 + "1987", "a" * 199 + "b",
    "abcdefghijklmnopqrstuvwxyz0123456789",
)  # fmt: skip
LOGIN, TOKEN, REGISTER = (f"/v1/auth/{name}" for name in ("login", "token", "register"))
FORGOT, RESET, PASSWORD = "/v1/auth/password/forgot", "/v1/auth/password/reset", "/v1/users/me/password"
GOOD, OTHER = "seven purple harbours", "a different long secret"
ANN = "ann@example.com"
SLOW = ("a4@c({[<e3g69i1!|l1|7o0s$5t+7x%z2" * 3)[:72]
"""Each sign may stand for letters: the number of words that are looked up explodes."""


def bearer(tokens: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def member(auth: Any, email: str = ANN, password: str = GOOD, tenant: str = "1") -> Any:
    """Somebody who has proven the address and set a password."""
    tokens = await auth.tokens_of(email, tenant)
    done = await auth.http.put(PASSWORD, json={"new": password}, headers=bearer(tokens))
    assert done.status_code == 204, done.text
    return tokens


async def login(auth: Any, email: str = ANN, password: str = GOOD, tenant: str | None = "1", **more: Any) -> Any:
    answer = await auth.post(LOGIN, {"email": email, "password": password, **more}, tenant)
    return answer.status_code, answer.json()


async def test_who_has_set_a_password_signs_in_with_it_everywhere_a_tenant_is_said(auth: Any) -> None:
    first = await member(auth)
    status, tokens = await login(auth, "Ann@Example.com")
    assert (status, tokens["token_type"], tokens["expires_in"]) == (200, "bearer", 3600)
    me = (await auth.http.get("/v1/users/me", headers=bearer(tokens))).json()
    assert (me["email"], me["email_verified"]) == (ANN, True)
    for where in ({"tenant": None}, {"tenant": me["tenant"]["customer_id"]}):
        assert (await login(auth, **where))[0] == 200
    assert (await auth.post(LOGIN, {"email": ANN, "password": GOOD, "tenant": "demo"}, None)).status_code == 200
    form = {"grant_type": "password", "username": ANN, "password": GOOD, "scope": "", "client_id": "demo"}
    token = await auth.http.post(TOKEN, data=form)
    assert token.status_code == 200 and token.headers["cache-control"] == "no-store"
    assert (await auth.post(TOKEN, {"username": ANN, "password": GOOD})).status_code == 200
    hashes = await auth.query("SELECT hash FROM auth.passwords")
    assert hashes[0]["hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert GOOD not in auth.log()
    assert first["refresh_token"]


async def test_what_is_wrong_is_not_told_by_answer_or_by_time(run_auth: Any) -> None:
    async with run_auth(LOGIN_REFUSED_AFTER="800ms") as auth:
        await member(auth)
        hard = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(10)).decode()
        await member(auth, "bob@example.com")
        await auth.query(
            "UPDATE auth.passwords SET hash = $1 FROM auth.users WHERE user_id = id AND email = 'bob@example.com'", hard
        )
        tried = [(ANN, "1"), ("bob@example.com", "1"), ("eve@example.com", "1"), (ANN, "99")] * 3
        random.Random(6).shuffle(tried)
        times: dict[tuple[str, str], list[float]] = {}
        shapes = set()
        for email, tenant in tried:
            began = time.perf_counter()
            status, body = await login(auth, email, "not the password", tenant)
            times.setdefault((email, tenant), []).append(time.perf_counter() - began)
            shapes.add((status, body["code"], body["detail"]))
        assert len(shapes) == 1 and next(iter(shapes))[:2] == (401, "invalid_credentials")
        medians = [statistics.median(taken) for taken in times.values()]
        assert max(medians) / min(medians) < 1.5, times


async def test_failures_are_counted_and_hinder_neither_a_known_device_nor_anybody_else(auth: Any) -> None:
    await member(auth)
    await member(auth, "bob@example.com")
    device = (await login(auth))[1]["device"]
    for _ in range(30):  # no success is counted
        assert (await login(auth))[0] == 200
    failed = [(await login(auth, password="wrong password"))[0] for _ in range(26)]
    assert failed.count(401) == 25 and failed[-1] == 429
    assert (await login(auth))[1]["code"] == "too_many_attempts"
    assert (await login(auth, device=device))[0] == 200
    assert (await login(auth, "bob@example.com"))[0] == 200
    for _ in range(20):
        assert (await login(auth, password="wrong password", device=device))[0] == 401
    assert (await login(auth, password="wrong password", device=device))[0] == 429
    assert (await login(auth, "bob@example.com", device=device))[0] == 200  # nobody's there: as any other device


async def test_parallel_guesses_do_not_overrun_the_budget(run_auth: Any) -> None:
    async with run_auth(PASSWORD_ROOM="400") as auth:
        await member(auth)

        async def guess() -> int:
            """A busy service may send one away; that was no try."""
            while (status := (await login(auth, password="wrong password"))[0]) == 503:
                pass
            return int(status)

        statuses = await asyncio.gather(*(guess() for _ in range(60)))
        assert (statuses.count(401), statuses.count(429)) == (25, 35)


async def test_who_is_in_several_tenants_chooses_after_the_proof_and_not_before(auth: Any) -> None:
    await auth.create_tenant("second")
    await member(auth, tenant="demo")
    await member(auth, tenant="second")
    status, body = await login(auth, tenant=None)
    assert (status, body["code"]) == (409, "choose_tenant")
    assert [(tenant["id"], tenant["slug"]) for tenant in body["tenants"]] == [(1, "demo"), (2, "second")]
    chosen = body["tenants"][1]["customer_id"]
    status, tokens = await login(auth, tenant=chosen)
    assert (await auth.http.get("/v1/users/me", headers=bearer(tokens))).json()["tenant"]["slug"] == "second"
    same = {**bearer(tokens), "X-Tenant-ID": chosen}
    assert (await auth.http.get("/v1/users/me", headers=same)).status_code == 200
    assert (await login(auth, password="wrong password", tenant=None))[1]["code"] == "invalid_credentials"
    renewed = await auth.post("/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]}, None)
    assert renewed.status_code == 200


async def test_a_code_that_was_asked_for_without_a_tenant_lets_its_owner_choose(auth: Any) -> None:
    await auth.create_tenant("second")
    await auth.tokens_of(ANN, "demo")
    await auth.tokens_of("bob@example.com", "second")
    code = await auth.code_of("bob@example.com", None)
    alone = await auth.post("/v1/auth/verify-code", {"email": "bob@example.com", "code": code}, None)
    assert alone.status_code == 200
    await auth.tokens_of(ANN, "second")
    code = await auth.code_of(ANN, None)
    guess = {"email": ANN, "code": f"{(int(code) + 1) % 10**6:06d}"}
    assert (await auth.post("/v1/auth/verify-code", guess, None)).json()["code"] == "invalid_code"
    told = await auth.post("/v1/auth/verify-code", {"email": ANN, "code": code}, None)
    assert (told.status_code, told.json()["code"], len(told.json()["tenants"])) == (409, "choose_tenant", 2)
    chosen = await auth.post("/v1/auth/verify-code", {"email": ANN, "code": code}, "second")
    assert chosen.status_code == 200
    assert (await auth.post("/v1/auth/verify-code", {"email": ANN, "code": code}, "second")).status_code == 401
    stranger = await auth.post("/v1/auth/request-code", {"email": "eve@example.com"}, None)
    assert stranger.status_code == 202 and "email=eve@example.com" not in auth.log()


async def test_changing_a_password_needs_the_present_one_and_ends_the_other_sessions(auth: Any) -> None:
    old = await member(auth)
    new = (await login(auth))[1]
    for body, status, code in (
        ({"new": OTHER}, 403, "wrong_password"),
        ({"current": "wrong password", "new": OTHER}, 403, "wrong_password"),
        ({"current": GOOD, "new": "password"}, 422, "password_too_weak"),
        ({"current": GOOD, "new": "ann@example.com1"}, 422, "password_too_weak"),
        ({"current": GOOD, "new": "short"}, 422, "invalid_input"),
    ):
        refused = await auth.http.put(PASSWORD, json=body, headers=bearer(new))
        assert (refused.status_code, refused.json()["code"]) == (status, code), body
    done = await auth.http.put(PASSWORD, json={"current": GOOD, "new": OTHER}, headers=bearer(new))
    assert done.status_code == 204
    assert (await login(auth))[0] == 401 and (await login(auth, password=OTHER))[0] == 200
    for tokens, status in ((old, 401), (new, 200)):
        refreshed = await auth.post("/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]})
        assert refreshed.status_code == status
    ended = await auth.query("SELECT state FROM auth.revisions WHERE kind = 'session'")
    assert {row["state"] for row in ended} == {"ended"}


async def test_a_password_is_reset_once_by_mail_and_that_ends_all_sessions(auth: Any) -> None:
    tokens = await member(auth)
    before = auth.log().count("code_issued")
    asked = await auth.post(FORGOT, {"email": ANN})
    unknown = await auth.post(FORGOT, {"email": "eve@example.com"})
    assert asked.status_code == unknown.status_code == 202 and asked.json().keys() == unknown.json().keys()
    assert auth.log().count("code_issued") == before + 1 and "email=eve@example.com" not in auth.log()
    code = auth.log().rpartition("code_issued code=")[2][:6]
    body = {"email": ANN, "code": code, "challenge": asked.json()["challenge"], "password": OTHER}
    as_sign_in = {key: body[key] for key in ("email", "code", "challenge")}
    assert (await auth.post("/v1/auth/verify-code", as_sign_in)).status_code == 401
    weak = await auth.post(RESET, {**body, "password": "password"})
    assert weak.json()["code"] == "password_too_weak"  # and the code is still good
    assert (await auth.post(RESET, body)).status_code == 204
    assert (await auth.post(RESET, body)).json()["code"] == "invalid_code"
    assert (await login(auth, password=OTHER))[0] == 200 and (await login(auth))[0] == 401
    assert (await auth.post("/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]})).status_code == 401
    sign_in = await auth.code_of(ANN)
    assert (await auth.post(RESET, {"email": ANN, "code": sign_in, "password": GOOD})).status_code == 401


async def test_bcrypt_that_was_brought_along_is_accepted_once_and_replaced(auth: Any) -> None:
    await member(auth)
    brought = bcrypt.hashpw(b"brought along 2019", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    await auth.query("UPDATE auth.passwords SET hash = $1", brought)
    assert (await login(auth, password="wrong password"))[0] == 401
    assert (await login(auth, password="brought along 2019"))[0] == 200
    (row,) = await auth.query("SELECT hash FROM auth.passwords")
    assert row["hash"].startswith("$argon2id$")
    assert (await login(auth, password="brought along 2019"))[0] == 200


async def test_users_are_brought_along_with_their_hashes(auth: Any, tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"brought along 2019", bcrypt.gensalt(4)).decode()
    lines = [{"email": "Ann@Example.com", "role": "admin", "password_hash": hashed}, {"username": "bob", "name": "Bob"}]
    file = tmp_path / "users.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    assert "2 users added, 0 were there" in auth.command("import-users", "--slug", "demo", str(file))
    assert "0 users added, 2 were there" in auth.command("import-users", "--slug", "demo", str(file))
    tokens = (await login(auth, password="brought along 2019"))[1]
    me = (await auth.http.get("/v1/users/me", headers=bearer(tokens))).json()
    assert (me["email"], me["email_verified"], me["role"]) == (ANN, True, "admin")
    booked = "SELECT subject_type, tenant_id FROM auth.audit_entries WHERE action = 'user.import'"

    async def told() -> bool:
        return [tuple(row.values()) for row in await auth.query(booked)] == [("command", 1)] * 2

    await eventually(told)
    file.write_text(json.dumps({"email": "eve@example.com"}) + '\n{"email": "x", "password_hash": "secret"}')
    refused = auth.command("import-users", "--slug", "demo", str(file), expect=1)
    assert "line 2" in refused and "secret" not in refused
    assert len(await auth.query("SELECT 1 FROM auth.users")) == 2


async def test_a_closed_account_does_not_sign_in_by_password(auth: Any) -> None:
    await member(auth)
    await auth.query("UPDATE auth.users SET is_active = false")
    assert (await login(auth))[1]["code"] == "invalid_credentials"


async def test_a_body_that_is_neither_form_nor_json_and_one_that_is_wrong(auth: Any) -> None:
    headers = {"Content-Type": "application/json"}
    broken = await auth.http.post(TOKEN, content=b"{", headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid_input")
    surplus = await auth.http.post(TOKEN, data={"username": ANN, "password": GOOD, "grant_type": "refresh_token"})
    assert (surplus.status_code, surplus.json()["code"]) == (422, "invalid_input")
    assert GOOD not in surplus.text
    for who in ("a@b@c", "@", "nobody at all"):
        assert (await login(auth, who))[0] in (401, 422)


async def test_a_password_that_was_changed_while_it_was_checked_signs_nobody_in(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, ANN)
    (user,) = await world.users()
    attempt = Attempt(tenant.id, Email(ANN), True, GOOD, "192.0.2.1")
    brought = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
    async with PasswordPool.open(2, 8) as pool:
        right, other = await pool.hash(GOOD, "one"), await pool.hash(OTHER, "one")
        sign_in = PasswordSignIn(
            world.uow, world.sessions, pool, AsyncMock(), KeyedPseudonyms(SECRET), world.clock,
            timedelta(milliseconds=1),
        )  # fmt: skip

        async def enter(checked: str, present: str) -> Any:
            async with world.uow(tenant.id) as tx:
                await tx.passwords.put(tenant.id, user.id, present, world.clock.now())
            return await sign_in.enter(Candidate(user, tenant, checked), attempt, "ann", None)

        assert await enter(right, right)
        assert await enter(brought, right)  # replaced by another sign-in with the same password
        for checked in (right, brought):
            with pytest.raises(InvalidCredentials):
                await enter(checked, other)


async def test_the_pool_refuses_beyond_its_room_and_leaves_room_for_other_networks() -> None:
    async with PasswordPool.open(1, 8) as pool:
        going = [asyncio.ensure_future(pool.hash(GOOD, "one")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PasswordsBusy):
            await pool.hash(GOOD, "one")
        hashed = await pool.hash(GOOD, "two")
        await asyncio.gather(*going)
        assert await pool.check(GOOD, [hashed, "$argon2id$broken", "$2b$broken"], "one") == [True, False, False]
        assert await pool.check(GOOD, [], "one") == []
        assert not is_outdated(hashed) and is_outdated(hashed.replace("t=2", "t=1")) and is_outdated("$2b$04$x")


@pytest.mark.parametrize("started_with", [0, 15])
def test_passwords_give_way_to_all_else_of_the_process(started_with: int) -> None:
    found: list[int] = []

    async def compute() -> None:
        async with PasswordPool.open(1, 8) as pool:
            found.append(await pool.run(lambda: os.nice(0), "one"))

    def process() -> None:
        """A thread stands for it: on Linux each has a priority of its own, which those that it starts begin with."""
        found.append(os.nice(started_with))
        asyncio.run(compute())

    standing_in = threading.Thread(target=process)
    standing_in.start()
    standing_in.join()
    assert found[1] == (min(19, found[0] + 10) if sys.platform == "linux" else found[0])


async def test_a_network_that_fills_its_room_keeps_nobody_else_waiting_nor_the_end() -> None:
    gate, done = threading.Event(), []
    async with PasswordPool.open(2, 64) as pool:
        flood = [asyncio.ensure_future(pool.run(gate.wait, "one")) for _ in range(16)]
        await asyncio.sleep(0)
        elsewhere = asyncio.ensure_future(pool.check(GOOD, [], "two"))
        await asyncio.wait([elsewhere], timeout=30)
        has_ended = elsewhere.done()  # though none of the sixteen has
        flood[1].cancel()  # whoever waits and goes gives the place in the queue back
        gate.set()
        assert has_ended and await elsewhere == []
        done = await asyncio.gather(*flood, return_exceptions=True)
        assert [type(one).__name__ for one in done].count("bool") == 15
        assert len(await asyncio.gather(*(pool.check(GOOD, [], "one") for _ in range(16)))) == 16
        gate.clear()
        begun: list[str] = []

        def slow(name: str) -> None:
            begun.append(name)
            gate.wait()

        async def in_work() -> None:
            assert len(begun) == 2

        last = [asyncio.ensure_future(pool.run(partial(slow, name), name)) for name in ("one", "two", "three", "four")]
        await eventually(in_work)
        threading.Timer(0.1, gate.set).start()
    ended = await asyncio.gather(*last, return_exceptions=True)
    assert [type(one).__name__ for one in ended] == ["NoneType", "NoneType", "CancelledError", "CancelledError"]


def test_no_password_takes_long_to_judge() -> None:
    began = time.process_time()
    for slow in (SLOW, "a" * 24 + SLOW):
        with suppress(PasswordTooWeak):
            require_strength(slow, ["ann@example.com"])
    assert time.process_time() - began < 5.0  # all of it would take minutes


async def test_new_passwords_of_an_address_are_counted_before_they_are_judged(run_auth: Any) -> None:
    async with run_auth(PASSWORDS_PER_ADDRESS="2/hour") as auth:
        body = {"email": ANN, "code": "123456", "password": "12345678"}
        answers = [(await auth.post(RESET, body)).json()["code"] for _ in range(3)]
    assert answers == ["password_too_weak", "password_too_weak", "too_many_attempts"]


async def test_every_character_of_a_password_counts() -> None:
    whole = "seven purple harbours " * 9  # far more than bcrypt reads
    async with PasswordPool.open(1, 4) as pool:
        hash_ = await pool.hash(whole, "192.0.2.1")
        for password, is_right in ((whole, True), (whole[:-1], False), (whole[:-1] + "x", False), (whole[:72], False)):
            assert await pool.check(password, [hash_], "192.0.2.1") == [is_right]


@pytest.mark.parametrize("weak", WEAK)
def test_what_is_guessed_first_is_no_password(weak: str) -> None:
    with pytest.raises(PasswordTooWeak):
        require_strength(weak, ["ann@example.com", "Ann Example", None])


@pytest.mark.parametrize(
    "good", [GOOD, "گذرواژه دراز من اینجاست", "x" * 3 + "9fK2-vv" * 20, "password" * 4 + GOOD, "a" * 178 + OTHER]
)
def test_any_other_is_one(good: str) -> None:
    require_strength(good, ["ann@example.com"])
