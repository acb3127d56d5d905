"""Signing in by a company's identity provider: who comes in, as whom, and who does not."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.federated_logins.domain import Grant, challenge_of, name_of, new_secret
from docuchat_auth.federated_logins.errors import InvalidSignInCode, NotAdmitted, ReturnNotAllowed, SignInEnded
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.identity_providers.domain import MOST_PROVIDERS
from docuchat_auth.identity_providers.errors import IdentityProviderNotFound, TooManyIdentityProviders
from docuchat_auth.invitations.domain import Invitation, hash_token, new_token
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.sessions.domain import TokenPair
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import uuid7

from .company import RETURN, Company, fields_for, open_company
from .conftest import OPERATOR, SECRET
from .provider import CLIENT_SECRET, query_of


@pytest.fixture
async def company(make_world: Any, redis_url: str) -> AsyncIterator[Company]:
    async with open_company(await make_world(), redis_url) as made:
        yield made


async def test_who_is_admitted_by_rule_joins_once_and_comes_back_as_the_same(company: Company) -> None:
    await company.join(role=Role.VIEWER)
    claims = await company.enter(name="Ann Example")
    again = await company.enter(email="ann.married@acme.example")  # the subject counts, not the address
    _, user = await company.world.users()
    assert (claims["sub"], claims["role"], claims["tenant"]) == (str(user.id), "viewer", company.tenant.id)
    assert again["sub"] == claims["sub"] and again["sid"] != claims["sid"]
    assert (user.email, user.claimed_email, user.name) == (None, "ann@acme.example", "Ann Example"), "nobody proved it"
    events = [event.type for event in await company.world.events()]
    assert events.count("user.registered.v1") == 1
    entries = [event for event in await company.world.events() if getattr(event, "action", "") == "session.start"]
    assert [(entry.subject_id, entry.detail) for entry in entries] == [  # type: ignore[attr-defined] - of this type
        (user.id, f"by identity provider {company.known.id}, joined"),
        (user.id, f"by identity provider {company.known.id}"),
    ]


async def test_twenty_first_sign_ins_at_once_make_one_user(company: Company) -> None:
    await company.join()
    codes = []
    for _ in range(20):
        answer, cookies, verifier = await company.there_and_back()
        codes.append(
            (query_of((await company.sign_in.receive(company.known.id, answer, cookies)).url)["code"], verifier)
        )
    await asyncio.gather(*(company.sign_in.exchange(*pair) for pair in codes))
    assert len(await company.world.users()) == 2


async def test_a_confirmed_address_of_a_proven_domain_is_its_owners(company: Company) -> None:
    await company.prove("acme.example")
    ann = await company.user("ann@acme.example", Role.ADMIN)
    claims = await company.enter()
    assert (claims["sub"], claims["role"]) == (str(ann.id), "admin")
    await company.join()
    await company.enter(sub="ben-at-acme", email="ben@acme.example")
    assert (await company.world.users())[-1].email == "ben@acme.example"


@pytest.mark.parametrize(
    "person",
    [
        {"email": "ann@elsewhere.example"},
        {"email": "ann@elsewhere.example", "email_verified": False},
        {"email": "ann@sub.acme.example"},
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "false"},
    ],
)
async def test_an_address_that_is_not_confirmed_or_not_of_the_tenants_domain_links_nobody(
    company: Company, person: dict[str, Any]
) -> None:
    await company.prove("acme.example")
    await company.join()
    await company.user(person.get("email", "ann@acme.example"))
    with pytest.raises(NotAdmitted):
        await company.enter(**person)
    assert len(await company.world.users()) == 2
    assert await company.world.admin.fetchval("SELECT count(*) FROM auth.federated_identities") == 0


async def test_an_owner_is_linked_only_where_an_owner_allows_it(company: Company) -> None:
    await company.prove("acme.example")
    with pytest.raises(NotAdmitted):
        await company.enter(email="boss@acme.example")
    eve = await company.user("eve@acme.example", Role.ADMIN)
    admin = replace(company.admin, subject_id=eve.id, role="admin")
    with pytest.raises(OwnersOnly):
        await company.providers.change(admin, company.known.id, {"links_owners": True}, None)
    with pytest.raises(OwnersOnly):
        fields = fields_for(company.provider, name="Evil", links_owners=True)
        await company.providers.create(admin, fields, None)
    await company.change(links_owners=True)
    await company.providers.change(admin, company.known.id, {"name": "Another name"}, None)
    claims = await company.enter(email="boss@acme.example")
    assert (claims["sub"], claims["role"]) == (str(company.owner.id), "owner")


async def test_an_address_that_the_company_gives_to_another_person_gives_no_account_away(company: Company) -> None:
    await company.prove("acme.example")
    await company.join()
    await company.user("ann@acme.example")
    await company.enter()
    with pytest.raises(NotAdmitted):
        await company.enter(sub="another-ann")


async def test_strangers_closed_accounts_and_closed_providers_are_refused(company: Company) -> None:
    world, known = company.world, company.known
    with pytest.raises(NotAdmitted):
        await company.enter()  # nobody joins unless a rule says so
    await company.join(domains=frozenset({"acme.example"}))
    for person in ({"email": "ann@elsewhere.example"}, {"email_verified": False}, {"email": None}):
        with pytest.raises(NotAdmitted):
            await company.enter(**person)
    assert len(await world.users()) == 1
    await world.tenants.set_suspended(company.tenant.id, is_suspended=True)
    with pytest.raises(NotAdmitted):
        await company.enter()
    await world.tenants.set_suspended(company.tenant.id, is_suspended=False)
    for deletes_at in (world.clock.now() + timedelta(days=7), None):
        async with world.uow.system() as tx:
            await tx.tenants.set_deletion(company.tenant.id, deletes_at)
        if deletes_at is not None:
            with pytest.raises(NotAdmitted):
                await company.enter()
    await company.enter()
    _, ann = await world.users()
    await world.members.change(company.tenant.id, ann.id, MemberChange(is_active=False), OPERATOR)
    with pytest.raises(NotAdmitted):
        await company.enter()
    answer, cookies, verifier = await company.there_and_back()
    await company.change(is_active=False)
    told = query_of((await company.sign_in.receive(known.id, answer, cookies)).url)
    assert told["error"] == "identity_provider_not_found"
    with pytest.raises(IdentityProviderNotFound):
        await company.sign_in.begin("acme", known.id, RETURN, challenge_of(verifier))
    other = await world.tenant("other")
    with pytest.raises(IdentityProviderNotFound):
        await company.sign_in.begin(str(other.id), known.id, RETURN, challenge_of(verifier))


async def test_groups_follow_the_provider_as_far_as_they_are_mapped(company: Company) -> None:
    legal, sales, own = [await company.world.groups.create(company.admin, name) for name in ("Legal", "Sales", "Own")]
    mappings = NewMappings(
        {"value": "lawyers", "group_id": legal.id},
        {"value": "sellers", "group_id": sales.id},
        {"value": "chiefs", "role": "admin"},
        {"value": "guests", "role": "viewer"},
    )
    await company.change(mappings=mappings)
    await company.join()

    first = await company.enter(groups=["lawyers", "chiefs", "guests", "owner"])
    assert (first["groups"], first["role"]) == ([str(legal.id)], "admin")
    _, ann = await company.world.users()
    await company.world.groups.add_member(company.admin, own.id, ann.id)
    second = await company.enter(groups=["sellers"])
    assert (sorted(second["groups"]), second["role"]) == (sorted([str(sales.id), str(own.id)]), "member")
    assert second["ver"] > first["ver"], "tokens from before tell what is no longer true"
    third = await company.enter(groups=["sellers"])
    assert third["ver"] == second["ver"], "nothing changed"
    assert (await company.enter(_claim_names={"groups": "src1"}))["groups"] == second["groups"], "not told is not gone"
    await company.world.groups.delete(company.admin, sales.id)
    assert (await company.enter(groups=["sellers", "lawyers"]))["groups"] == sorted([str(legal.id), str(own.id)])
    assert (await company.enter())["groups"] == [str(own.id)]


async def test_who_is_demoted_by_a_group_takes_along_what_was_offered(company: Company) -> None:
    world, tenant = company.world, company.tenant.id
    await company.change(mappings=NewMappings({"value": "chiefs", "role": "admin"}))
    await company.join()
    await company.enter(groups=["chiefs"])
    _, ann = await world.users()
    now = world.clock.now()
    for number, by in enumerate((ann.id, company.owner.id)):
        offer = Invitation(
            tenant, uuid7(), Email(f"v{number}@example.com"), Role.ADMIN, by, now, now + timedelta(days=7)
        )
        async with world.uow(tenant) as tx:
            await tx.invitations.put(offer, hash_token(new_token(tenant)))
    assert (await company.enter(groups=[]))["role"] == "member"
    left = await world.admin.fetch("SELECT invited_by FROM auth.invitations")
    assert [row["invited_by"] for row in left] == [company.owner.id]


def NewMappings(*mappings: dict[str, Any]) -> Any:  # noqa: N802 - reads as what it makes
    from docuchat_auth.identity_providers.schemas import GroupMappingBody

    return tuple(GroupMappingBody.model_validate(one).mapping() for one in mappings)


async def test_no_group_makes_or_unmakes_an_owner(company: Company) -> None:
    await company.prove("acme.example")
    await company.change(links_owners=True, mappings=NewMappings({"value": "guests", "role": "viewer"}))
    assert (await company.enter(email="boss@acme.example", groups=["guests"]))["role"] == "owner"
    for body in ({"value": "x", "role": "owner"}, {"value": "x"}):
        with pytest.raises(ValueError, match="role"):
            NewMappings(body)
    with pytest.raises(ValueError, match="role"):
        fields_for(company.provider, jit={"enabled": True, "default_role": "owner"})


async def test_a_state_is_good_once_for_the_browser_that_began(company: Company) -> None:
    await company.join()
    receive, known = company.sign_in.receive, company.known.id
    answer, cookies, _ = await company.there_and_back()
    (name, cookie) = next(iter(cookies.items()))
    assert name.startswith("__Host-")
    await receive(known, answer, cookies)
    with pytest.raises(SignInEnded):
        await receive(known, answer, cookies)
    for others in ({}, {name: new_secret()}, {name: ""}, {"docuchat-sign-in": cookie}):
        answer, _, _ = await company.there_and_back()
        with pytest.raises(SignInEnded):
            await receive(known, answer, others)
    for wrong in (None, "", "unknown"):
        answer, cookies, _ = await company.there_and_back()
        with pytest.raises(SignInEnded):
            await receive(known, replace(answer, state=wrong), cookies)
    answer, cookies, _ = await company.there_and_back()
    assert answer.state is not None
    lives = await company.redis.pttl(f"auth:oidc:flow:{name_of(answer.state)}")
    assert 0 < lives <= 600_000


async def test_one_provider_gets_no_code_of_another(company: Company) -> None:
    other = await company.providers.create(company.admin, fields_for(company.provider, name="Other"), None)
    answer, cookies, _ = await company.there_and_back()
    with pytest.raises(SignInEnded):
        await company.sign_in.receive(other.id, answer, cookies)

    answer, cookies, _ = await company.there_and_back()
    back = await company.sign_in.receive(company.known.id, replace(answer, issuer="https://evil.example"), cookies)
    assert query_of(back.url)["error"] == "provider_answer_invalid"
    company.provider.metadata = {"authorization_response_iss_parameter_supported": True}
    company.world.clock.advance(minutes=11)  # what was remembered of the provider is asked for again
    for issuer, told in ((None, "error"), (company.provider.issuer, "code")):
        answer, cookies, _ = await company.there_and_back()
        back = await company.sign_in.receive(company.known.id, replace(answer, issuer=issuer), cookies)
        assert set(query_of(back.url)) - {"error_description"} == {told}
    assert [form["redirect_uri"] for form in company.provider.forms] == [
        f"https://docuchat.example/v1/auth/oidc/callback/{company.known.id}"
    ]


class Forgetful(PendingSignIns):
    """Redis goes away while the provider is asked."""

    async def put_grant(self, code: str, grant: Grant) -> None:
        raise UpstreamUnavailable


async def test_who_comes_while_nothing_can_be_kept_is_sent_back_with_that(company: Company) -> None:
    answer, cookies, _ = await company.there_and_back()
    company.sign_in._pending = Forgetful(company.redis, SECRET)
    back = await company.sign_in.receive(company.known.id, answer, cookies)
    assert back.url.startswith(f"{RETURN}?error=upstream_unavailable&")


async def test_who_is_refused_by_the_provider_comes_back_with_that(company: Company) -> None:
    answer, cookies, _ = await company.there_and_back()
    back = await company.sign_in.receive(company.known.id, replace(answer, code=None, error="access_denied"), cookies)
    assert back.url.startswith(f"{RETURN}?error=sign_in_denied&error_description=")
    company.provider.twist = lambda claims: claims.update(nonce="another")
    answer, cookies, _ = await company.there_and_back()
    back = await company.sign_in.receive(company.known.id, answer, cookies)
    assert query_of(back.url)["error"] == "provider_answer_invalid"


async def test_a_code_is_good_once_for_who_knows_the_verifier(company: Company) -> None:
    await company.join()

    async def code_and_verifier() -> tuple[str, str]:
        answer, cookies, verifier = await company.there_and_back()
        return query_of((await company.sign_in.receive(company.known.id, answer, cookies)).url)["code"], verifier

    code, verifier = await code_and_verifier()
    lives = await company.redis.pttl(f"auth:oidc:code:{name_of(code)}")
    assert 0 < lives <= 60_000
    outcomes = await asyncio.gather(
        *(company.sign_in.exchange(code, verifier) for _ in range(20)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, InvalidSignInCode)] == [TokenPair]
    code, verifier = await code_and_verifier()
    for shown in (new_secret(), verifier):  # a wrong one spends it
        with pytest.raises(InvalidSignInCode):
            await company.sign_in.exchange(code, shown)


async def test_a_browser_is_sent_to_no_address_that_the_operator_did_not_allow(company: Company) -> None:
    async def begin(return_to: str) -> None:
        await company.sign_in.begin("acme", company.known.id, return_to, challenge_of(new_secret()))

    await begin(RETURN)
    await begin("https://docuchat.example/console")
    for wrong in (
        "https://evil.example/", "https://app.example/", f"{RETURN}/", f"{RETURN}?x", "javascript:alert(1)", "",
        "https://docuchat.example.evil.example/", "https://docuchat.example@evil.example/",
        "//evil.example", "/console",
    ):  # fmt: skip
        with pytest.raises(ReturnNotAllowed):
            await begin(wrong)


async def test_redis_and_the_database_hold_no_secret_in_the_clear(company: Company) -> None:
    await company.join()
    answer, cookies, verifier = await company.there_and_back(name="Ann Example")
    told = query_of((await company.sign_in.receive(company.known.id, answer, cookies)).url)
    await company.there_and_back()
    kept = b""
    async for key in company.redis.scan_iter(match="auth:oidc:*"):
        kept += key + await company.redis.get(key)
    assert kept
    stored = await company.world.admin.fetchval("SELECT string_agg(p::text, '') FROM auth.identity_providers AS p")
    for secret in (answer.state, told["code"], *cookies.values(), verifier, "ann@acme.example", "Ann Example"):
        assert secret is not None and secret.encode() not in kept
    assert CLIENT_SECRET not in stored and CLIENT_SECRET.encode().hex() not in stored


async def test_another_tenants_provider_is_not_to_be_seen(company: Company) -> None:
    other = await company.world.tenant("other")
    stranger = await company.world.new_admin(other)
    with pytest.raises(IdentityProviderNotFound):
        await company.providers.get(other.id, company.known.id)
    with pytest.raises(IdentityProviderNotFound):
        await company.providers.change(stranger, company.known.id, {"name": "Mine"}, None)
    with pytest.raises(IdentityProviderNotFound):
        await company.providers.delete(stranger, company.known.id)


async def test_a_tenant_has_twenty_providers_at_most_also_when_several_add_at_once(company: Company) -> None:
    for number in range(MOST_PROVIDERS - 2):
        await company.providers.create(company.admin, fields_for(company.provider, name=f"a{number}"), None)
    admins = [await company.world.new_admin(company.tenant) for _ in range(4)]
    adding = [
        company.providers.create(admin, fields_for(company.provider, name=f"b{number}"), None)
        for number, admin in enumerate(admins)
    ]
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(TooManyIdentityProviders) == 3, outcomes
