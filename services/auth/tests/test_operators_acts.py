"""What operators do with tenants and their people is felt in sessions and revisions."""

from datetime import timedelta
from typing import Any

import jwt
import pytest

from docuchat_auth.codes.domain import Account, GuessBudget, Redemption
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.operators.service import SignInReset
from docuchat_auth.sessions.errors import InvalidRefreshToken
from docuchat_auth.users.domain import Email, User
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.ids import uuid7
from docuchat_common.rate_limits import RateLimiter, parse_rates

from .test_operators import TENANTS, bearer, make


def reset_of(world: Any) -> SignInReset:
    async def forget(user: User) -> int:
        return await world.codes.forget(Account(user.tenant_id, Email(user.email or "")))

    return SignInReset(world.uow, world.sessions, [forget])


async def told(world: Any) -> set[tuple[str, str, int, str]]:
    page = await world.revisions.list_after(None)
    return {(item.kind, item.subject, item.version, item.state) for item in page.items}


def session_of(pair: Any) -> str:
    return str(jwt.decode(pair.access_token, options={"verify_signature": False})["sid"])


async def test_a_reset_ends_sessions_and_lets_in_whom_guesses_had_locked_out(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    (ann,) = await world.users()
    account = Account(tenant.id, ann.email)
    await world.ask(tenant, "ann@example.com")
    for _ in range(41):
        outcome, _ = await world.codes.redeem(account, None, "no code", network="192.0.2.1")
    await reset_of(world).reset(tenant.id, ann.id)
    with pytest.raises(UserNotFound):
        await reset_of(world).reset((await world.tenant("other")).id, ann.id)

    assert outcome is Redemption.LIMITED
    assert (await world.codes.redeem(account, None, "no code", network="192.0.2.1"))[0] is Redemption.MISSING
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, pair.refresh_token)
    assert ("user", str(ann.id), 1, "changed") in await told(world)
    assert await world.sign_in_as(tenant, "ann@example.com")


async def test_failures_at_passwords_and_known_devices_are_forgotten_and_those_of_others_stay(make_world: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    (ann,) = await world.users()
    client = world.codes._client
    async with RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=30)) as limiter:
        attempts = Attempts(client, limiter, GuessBudget(5, 100), parse_rates("1000/h"))

        async def use_up(subject: str) -> None:
            with pytest.raises(TooManyAttempts):
                for _ in range(101):
                    await attempts.count(attempts.of_strangers(subject, "192.0.2.1"))

        await attempts.remember("ann", device := "a device", ann)
        assert await attempts.find_known("ann", device) == {ann.id: ann.tenant_id}
        for subject in ("ann", "bob"):
            await use_up(subject)
        await attempts.forget("ann")
        await attempts.count(attempts.of_strangers("ann", "192.0.2.1"))
        assert await attempts.find_known("ann", device) == {}
        with pytest.raises(TooManyAttempts):
            await attempts.count(attempts.of_strangers("bob", "192.0.2.1"))


async def test_an_operator_suspends_a_tenant_and_changes_its_users(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    await auth.tokens_of("ann@example.com")
    tokens = await auth.tokens_of("bob@example.com")
    bob = (await auth.http.get(f"{TENANTS}/demo/users", params={"email": "bob@example.com"}, headers=headers)).json()
    path = f"{TENANTS}/demo/users/{bob['items'][0]['id']}"

    async def change(path: str, body: Any) -> Any:
        answer = await auth.http.patch(path, json=body, headers=headers)
        return answer.status_code, answer.json()

    status, suspended = await change(f"{TENANTS}/demo", {"suspended": True})
    _, again = await change(f"{TENANTS}/demo", {"suspended": True})
    rows = await auth.query("SELECT kind, subject, state FROM auth.revisions WHERE kind = 'tenant'")
    _, resumed = await change(f"{TENANTS}/demo", {"suspended": False, "signup": "invite"})
    assert (status, again["suspended_at"] == suspended["suspended_at"], resumed["suspended_at"]) == (200, True, None)
    assert ([tuple(row.values()) for row in rows], resumed["signup"]) == ([("tenant", "1", "suspended")], "invite")

    status, user = await change(path, {"role": "viewer"})
    assert (status, user["role"], user["is_active"]) == (200, "viewer", True)
    assert (await change(path, {"role": "emperor"}))[0] == 422
    assert (await change(f"{TENANTS}/demo/users/{uuid7()}", {"active": False}))[1]["code"] == "user_not_found"
    reset = await auth.http.post(f"{path}/reset-sign-in", headers=headers)
    refused = await auth.post("/v1/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    assert (reset.status_code, refused.status_code) == (204, 401)
