"""Links to identity providers: no way to an owner's rights that no owner allowed; seen and cut by whom they concern."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from docuchat_auth.federated_logins.errors import NotAdmitted
from docuchat_auth.links.errors import LinkedIdentityNotFound
from docuchat_auth.links.service import Links
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.operators.service import SignInReset
from docuchat_auth.sessions.domain import TokenPair
from docuchat_auth.sessions.errors import InvalidRefreshToken
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import RecentSignInRequired

from .company import Company, claims_of, open_company


@pytest.fixture
async def company(make_world: Any, redis_url: str) -> AsyncIterator[Company]:
    async with open_company(await make_world(), redis_url) as made:
        await made.prove("acme.example")
        yield made


def caller_of(pair: TokenPair) -> Caller:
    """Who signed in just now."""
    claims = claims_of(pair)
    tenant, user, session = claims["tenant"], claims["sub"], claims["sid"]
    return Caller(tenant, "user", UUID(user), role=claims["role"], session_id=UUID(session))


async def is_open(company: Company, pair: TokenPair) -> bool:
    try:
        await company.world.sessions.refresh(company.tenant.id, pair.refresh_token)
    except InvalidRefreshToken:
        return False
    return True


async def make_owner(company: Company, user: User) -> None:
    await company.world.members.change(company.tenant.id, user.id, MemberChange(role=Role.OWNER), company.admin)


async def test_who_was_linked_first_and_is_made_an_owner_comes_no_more_by_the_provider(company: Company) -> None:
    ann = await company.user("ann@acme.example")
    begun = await company.tokens()
    await make_owner(company, ann)
    assert not await is_open(company, begun), "what the provider let in does not become an owner's"
    with pytest.raises(NotAdmitted):
        await company.enter()
    await company.change(links_owners=True)
    assert (await company.enter())["role"] == "owner"


async def test_owners_come_no_more_once_that_was_taken_back(company: Company) -> None:
    await company.change(links_owners=True)
    boss = await company.tokens(sub="boss-at-acme", email="boss@acme.example")
    await company.user("ann@acme.example")
    ann = await company.tokens()
    await company.change(links_owners=False)
    assert (await is_open(company, boss), await is_open(company, ann)) == (False, True)
    with pytest.raises(NotAdmitted):
        await company.enter(sub="boss-at-acme", email="boss@acme.example")
    assert await company.enter()


async def test_one_sees_and_cuts_ones_own_links_and_admins_those_of_others(company: Company) -> None:
    world, known = company.world, company.known.id
    links = Links(world.uow, world.sessions, world.clock)
    ann = await company.user("ann@acme.example")
    pair, other = await company.tokens(), await company.tokens()
    asking = caller_of(pair)
    (link,) = await links.list_of(asking, None)
    assert (link.provider_id, link.subject) == (known, "ann-at-acme")
    world.clock.advance(minutes=16)
    with pytest.raises(RecentSignInRequired):
        await links.cut(asking, None, known)
    world.clock.advance(minutes=-16)
    await links.cut(asking, None, known)
    assert await links.list_of(asking, None) == [] and not await is_open(company, other)
    with pytest.raises(LinkedIdentityNotFound):
        await links.cut(asking, None, known)

    pair = await company.tokens()
    eve = await company.user("eve@acme.example", Role.ADMIN)
    admin = Caller(company.tenant.id, "user", eve.id, role="admin", session_id=asking.session_id)
    assert len(await links.list_of(admin, ann.id)) == 1
    await links.cut(admin, ann.id, known)
    assert not await is_open(company, pair)
    await company.change(links_owners=True)
    await company.enter(sub="boss-at-acme", email="boss@acme.example")
    with pytest.raises(OwnersOnly):
        await links.cut(admin, company.owner.id, known)
    stranger = await world.new_admin(await world.tenant("other"))
    for act in (links.list_of(stranger, ann.id), links.cut(stranger, ann.id, known)):
        with pytest.raises(UserNotFound):
            await act
    told = [event for event in await world.events() if getattr(event, "action", "") == "user.unlink"]
    assert [getattr(event, "object_id", "") for event in told] == [str(ann.id)] * 2


async def test_an_operators_reset_cuts_links_where_they_can_be_made_again(company: Company) -> None:
    ann = await company.user("ann@acme.example")
    await company.join()
    await company.enter()
    away = await company.enter(sub="ben", email="ben@elsewhere.example")
    reset = SignInReset(company.world.uow, company.world.sessions, [])
    for user in await company.world.users():
        await reset.reset(company.tenant.id, user.id)
    rows = await company.world.admin.fetch("SELECT user_id FROM auth.federated_identities")
    assert [str(row["user_id"]) for row in rows] == [away["sub"]], "with no proven address he would be somebody else"
    assert (await company.enter())["sub"] == str(ann.id)
