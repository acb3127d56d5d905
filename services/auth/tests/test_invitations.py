"""Invitations: how people come into a tenant that takes nobody uninvited."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import pytest

from docuchat_auth.adapters.mail import invitation_message
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.invitations.domain import InvitationMail, new_token, tenant_in
from docuchat_auth.invitations.service import InvitationPolicy, Invitations
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import TenantId

from .conftest import OPERATOR, SECRET

INVITATIONS, ACCEPT = "/v1/invitations", "/v1/invitations/accept"
PASSWORD = "four words nobody expects"


def bearer(tokens: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def invite(auth: Any, headers: Any, email: str, **body: Any) -> Any:
    return await auth.http.post(INVITATIONS, json={"email": email, **body}, headers=headers)


def tokens_sent(auth: Any, email: str) -> list[str]:
    found: list[str] = re.findall(rf"invitation_issued token=(\S+) email={re.escape(email)}", auth.log())
    return found


async def accept(auth: Any, token: str, **body: Any) -> Any:
    return await auth.http.post(ACCEPT, json={"token": token, **body})


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
async def owner(auth: Any) -> dict[str, str]:
    """The owner of a tenant that takes nobody uninvited."""
    headers = bearer(await auth.tokens_of("ann@example.com"))
    await auth.query("UPDATE auth.tenants SET signup = 'invite', signup_open = false")
    return headers


async def test_who_is_invited_becomes_a_user_once_with_a_proven_address(auth: Any, owner: Any) -> None:
    key = {"Idempotency-Key": "once"}
    made = [await invite(auth, owner | key, "Ben@example.com", role="viewer") for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    (token,) = tokens_sent(auth, "ben@example.com")
    assert token not in made[0].text
    (row,) = await auth.query("SELECT i::text AS stored, token_hash FROM auth.invitations AS i")
    assert row["token_hash"] == hashlib.sha256(token.encode()).digest() and token[8:] not in row["stored"]

    weak = await accept(auth, token, password="password1")
    assert refusal(weak) == (422, "password_too_weak")
    both = await asyncio.gather(*(accept(auth, token, name="Ben", password=PASSWORD) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [200, 401]
    tokens = next(answer for answer in both if answer.status_code == 200)
    assert tokens.headers["cache-control"] == "no-store"
    me = (await auth.http.get("/v1/users/me", headers=bearer(tokens.json()))).json()
    assert (me["email"], me["email_verified"], me["role"], me["name"]) == ("ben@example.com", True, "viewer", "Ben")
    login = await auth.post("/v1/auth/login", {"email": "ben@example.com", "password": PASSWORD})
    assert login.status_code == 200
    assert refusal(await accept(auth, token)) == (401, "invalid_invitation")
    assert refusal(await invite(auth, owner, "ben@example.com")) == (409, "already_member")
    assert (await auth.http.get(INVITATIONS, headers=owner)).json()["items"] == []


async def test_only_the_last_mail_counts_and_a_revoked_or_expired_one_does_not(auth: Any, owner: Any) -> None:
    first = (await invite(auth, owner, "ben@example.com")).json()
    again = (await invite(auth, owner, "ben@example.com", role="admin")).json()
    assert (again["id"], again["role"]) == (first["id"], "admin")
    path = f"{INVITATIONS}/{first['id']}"
    resent = await auth.http.post(f"{path}/resend", headers=owner)
    assert (resent.status_code, resent.json()["role"]) == (200, "admin")
    older, old, newest = tokens_sent(auth, "ben@example.com")
    for void in (older, old, "dci_1_x", newest[:-1], f"dci_2_{newest[6:]}", new_token(TenantId(1))):
        assert refusal(await accept(auth, void)) == (401, "invalid_invitation"), void
    await auth.query("UPDATE auth.invitations SET expires_at = now()")
    assert refusal(await accept(auth, newest)) == (401, "invalid_invitation")
    assert [one["id"] for one in (await auth.http.get(INVITATIONS, headers=owner)).json()["items"]] == [first["id"]]
    await auth.http.post(f"{path}/resend", headers=owner)
    assert (await auth.http.delete(path, headers=owner)).status_code == 204
    assert refusal(await accept(auth, tokens_sent(auth, "ben@example.com")[-1])) == (401, "invalid_invitation")
    assert refusal(await auth.http.delete(path, headers=owner)) == (404, "invitation_not_found")
    assert refusal(await auth.http.post(f"{path}/resend", headers=owner)) == (404, "invitation_not_found")


async def test_only_an_owner_invites_owners_and_a_member_nobody(auth: Any, owner: Any) -> None:
    people = {}
    for name, role in (("bob", "admin"), ("eve", "member"), ("zoe", "owner")):
        assert (await invite(auth, owner, f"{name}@example.com", role=role)).status_code == 201
        (token,) = tokens_sent(auth, f"{name}@example.com")
        people[name] = bearer((await accept(auth, token)).json())
    assert (await auth.http.get("/v1/users/me", headers=people["zoe"])).json()["role"] == "owner"
    assert refusal(await invite(auth, people["bob"], "new@example.com", role="owner")) == (403, "owners_only")
    assert (await invite(auth, people["zoe"], "new@example.com", role="owner")).status_code == 201
    (pending,) = (await auth.http.get(INVITATIONS, headers=people["bob"])).json()["items"]
    resend = await auth.http.post(f"{INVITATIONS}/{pending['id']}/resend", headers=people["bob"])
    assert refusal(resend) == (403, "owners_only")
    assert refusal(await invite(auth, people["eve"], "new@example.com")) == (403, "not_allowed")
    assert refusal(await auth.http.get(INVITATIONS, headers=people["eve"])) == (403, "not_allowed")


async def test_a_person_of_another_tenant_is_invited_and_is_two_users(auth: Any, owner: Any) -> None:
    await auth.create_tenant("other")
    there = bearer(await auth.tokens_of("ben@example.com", "other"))
    assert (await invite(auth, owner, "ben@example.com")).status_code == 201
    (token,) = tokens_sent(auth, "ben@example.com")
    here = bearer((await accept(auth, token)).json())
    mine, other = [(await auth.http.get("/v1/users/me", headers=headers)).json() for headers in (here, there)]
    assert (mine["role"], other["role"]) == ("member", "owner")
    assert mine["id"] != other["id"] and mine["tenant"]["slug"] != other["tenant"]["slug"]
    foreign = (await invite(auth, owner, "eve@example.com")).json()["id"]
    assert refusal(await auth.http.delete(f"{INVITATIONS}/{foreign}", headers=there)) == (404, "invitation_not_found")


async def test_who_has_come_by_another_way_meanwhile_signs_in_with_what_the_account_has(auth: Any, owner: Any) -> None:
    await invite(auth, owner, "ben@example.com", role="admin")
    (token,) = tokens_sent(auth, "ben@example.com")
    await auth.query("UPDATE auth.tenants SET signup = 'open'")
    await auth.tokens_of("ben@example.com")
    assert refusal(await accept(auth, token, password=PASSWORD)) == (409, "already_member")
    rows = await auth.query("SELECT role FROM auth.users WHERE email = 'ben@example.com'")
    assert [row["role"] for row in rows] == ["member"]


async def test_an_address_is_not_flooded(auth: Any, owner: Any) -> None:
    answers = [await invite(auth, owner, "ben@example.com") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [201] * 6 + [429]
    assert refusal(answers[-1]) == (429, "too_many_attempts")


def test_the_mail_has_a_link_and_a_code_and_neither_in_its_subject() -> None:
    token = new_token(TenantId(7))
    mail = InvitationMail(
        TenantId(7), "Acme\r\nBcc: x", Email("ben@example.com"), token, datetime(2026, 1, 2, tzinfo=UTC)
    )
    message = invitation_message(mail, "https://app.example/invitation", "DocuChat <no-reply@docuchat.example>")
    text = message.get_content()
    assert f"https://app.example/invitation#token={token}" in text and f"\n    {token}\n" in text
    assert "Acme Bcc: x" in text and "2026-01-02 00:00 UTC" in text
    assert token not in str(message["Subject"]) and message["To"] == "ben@example.com"
    assert token not in repr(mail)
    assert tenant_in(token) == 7
    assert [tenant_in(wrong) for wrong in ("", "dci_0_" + "x" * 43, "dci_9999999999_" + "x" * 43, token + "x")] == [
        None
    ] * 4


async def test_who_may_no_more_invites_nobody_whatever_the_token_says(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    for email in ("ann@example.com", "bob@example.com"):
        await world.sign_in_as(tenant, email)
    limiter = AsyncMock(hit=AsyncMock(return_value=None))
    policy = InvitationPolicy(timedelta(days=1), (), ())
    invitations = Invitations(
        world.uow, world.sessions, AsyncMock(), limiter, KeyedPseudonyms(SECRET), AsyncMock(), world.clock, policy
    )
    _, bob = await world.users()
    before = Caller(tenant.id, "user", bob.id, role="admin")  # as a token of before the demotion says
    with pytest.raises(NotAllowed):
        await invitations.invite(before, Email("eve@example.com"), Role.ADMIN)
    await world.members.change(tenant.id, bob.id, MemberChange(role=Role.ADMIN), OPERATOR)
    assert await invitations.invite(before, Email("eve@example.com"), Role.ADMIN)
