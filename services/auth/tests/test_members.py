"""Managing people: what ends at once, who may make whom what, and that a tenant keeps an owner."""

import asyncio
from typing import Any

import pytest

from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.sessions.errors import InvalidRefreshToken
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import UserRemoved
from docuchat_common.http.caller import Caller
from docuchat_common.ids import UserId, uuid7

NOT_ACTIVE = MemberChange(is_active=False)


class People:
    """A tenant with an owner `ann`, an admin `bob` and a member `eve`, each signed in."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.pairs: dict[str, Any] = {}
        self.users: dict[str, Any] = {}

    async def join(self) -> "People":
        self.tenant = await self.world.tenant()
        for name in ("ann", "bob", "eve"):
            self.pairs[name] = await self.world.sign_in_as(self.tenant, f"{name}@example.com")
        await self.look()
        await self.change("bob", MemberChange(Role.ADMIN), None)
        await self.look()
        return self

    async def look(self) -> None:
        self.users = {user.email.partition("@")[0]: user for user in await self.world.users()}

    def caller(self, name: str, subject_type: Any = "user") -> Caller:
        user = self.users[name]
        return Caller(self.tenant.id, subject_type, user.id, role=user.role.value)

    async def change(self, name: str, change: MemberChange, by: str | None) -> Any:
        caller = None if by is None else self.caller(by)
        return await self.world.members.change(self.tenant.id, self.users[name].id, change, caller)

    async def remove(self, name: str, by: str | None, heir: UserId | None = None) -> None:
        caller = None if by is None else self.caller(by)
        await self.world.members.remove(self.tenant.id, self.users[name].id, caller, hand_over_to=heir)

    async def told(self, name: str) -> int | None:
        page = await self.world.revisions.list_after(None)
        subject = str(self.users[name].id)
        return next((item.version for item in page.items if item.subject == subject), None)


@pytest.fixture
async def people(make_world: Any) -> People:
    return await People(await make_world()).join()


async def test_a_change_of_role_outdates_the_tokens_and_the_same_again_changes_nothing(people: People) -> None:
    changed = await people.change("eve", MemberChange(Role.VIEWER), "bob")
    again = await people.change("eve", MemberChange(Role.VIEWER), "bob")
    assert (changed.role, changed.version, again.version) == (Role.VIEWER, 1, 1)
    assert await people.told("eve") == 1
    await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)


async def test_deactivation_ends_the_sessions_for_good_and_who_is_active_again_signs_in_again(people: People) -> None:
    await people.change("eve", NOT_ACTIVE, "bob")
    assert await people.told("eve") == 1
    await people.change("eve", MemberChange(is_active=True), "bob")
    with pytest.raises(InvalidRefreshToken):
        await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)
    assert await people.world.sign_in_as(people.tenant, "eve@example.com")


async def test_removal_ends_the_sessions_and_tells_who_gets_what_was_owned(people: People) -> None:
    eve, bob = people.users["eve"], people.users["bob"]
    await people.remove("eve", "bob", bob.id)
    assert await people.told("eve") == 1
    with pytest.raises(InvalidRefreshToken):
        await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)
    removed = [event for event in await people.world.events() if isinstance(event, UserRemoved)]
    assert [(event.user_id, event.hand_over_to) for event in removed] == [(eve.id, bob.id)]
    assert eve.id not in {user.id for user in await people.world.users()}
    with pytest.raises(UserNotFound):
        await people.remove("eve", "bob")
    await people.world.sign_in_as(people.tenant, "eve@example.com")
    await people.look()
    assert people.users["eve"].id != eve.id


async def test_what_is_owned_goes_to_another_active_user_of_the_tenant_or_to_nobody(people: People) -> None:
    other = await people.world.tenant("other")
    await people.world.sign_in_as(other, "zoe@example.com")
    await people.look()
    await people.change("bob", NOT_ACTIVE, "ann")
    for heir in (people.users["eve"].id, people.users["bob"].id, people.users["zoe"].id, UserId(uuid7())):
        with pytest.raises(InvalidHandOver):
            await people.remove("eve", "ann", heir)
    await people.remove("eve", "ann")


async def test_only_an_owner_makes_changes_and_removes_owners(people: People) -> None:
    for refused in (
        people.change("eve", MemberChange(Role.OWNER), "bob"),
        people.change("bob", MemberChange(Role.OWNER), "bob"),
        people.change("ann", MemberChange(Role.MEMBER), "bob"),
        people.change("ann", NOT_ACTIVE, "bob"),
        people.remove("ann", "bob"),
        people.world.members.change(
            people.tenant.id, people.users["eve"].id, MemberChange(Role.OWNER), people.caller("ann", "key")
        ),
    ):
        with pytest.raises(OwnersOnly):
            await refused
    assert (await people.change("eve", MemberChange(Role.OWNER), "ann")).role is Role.OWNER
    stale = people.caller("ann")
    await people.change("ann", MemberChange(Role.ADMIN), "ann")
    with pytest.raises(OwnersOnly):  # the token still says owner
        await people.world.members.change(people.tenant.id, people.users["bob"].id, MemberChange(Role.OWNER), stale)


async def test_the_last_active_owner_stays_also_for_an_operator(people: People) -> None:
    await people.change("eve", MemberChange(Role.OWNER), "ann")
    await people.change("eve", NOT_ACTIVE, "ann")
    for refused in (
        people.change("ann", MemberChange(Role.MEMBER), None),
        people.change("ann", NOT_ACTIVE, "ann"),
        people.remove("ann", "ann"),
    ):
        with pytest.raises(LastOwner):
            await refused


async def test_two_owners_who_step_down_at_once_leave_one(people: People) -> None:
    await people.change("eve", MemberChange(Role.OWNER), "ann")
    await people.change("bob", MemberChange(Role.OWNER), "ann")
    outcomes = await asyncio.gather(
        people.change("ann", MemberChange(Role.MEMBER), "ann"),
        people.remove("bob", "bob"),
        people.change("eve", NOT_ACTIVE, "eve"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes].count(LastOwner) == 1, outcomes
    owners = [user for user in await people.world.users() if user.role is Role.OWNER and user.is_active]
    assert len(owners) == 1


async def test_another_tenants_user_is_not_there(people: People) -> None:
    other = await people.world.tenant("other")
    by = Caller(other.id, "user", people.users["ann"].id, role="owner")
    with pytest.raises(UserNotFound):
        await people.world.members.change(other.id, people.users["eve"].id, NOT_ACTIVE, by)
    with pytest.raises(UserNotFound):
        await people.world.members.remove(other.id, people.users["eve"].id, by, hand_over_to=None)


async def test_admins_manage_people_over_http(auth: Any) -> None:
    owner, member = [
        {"Authorization": f"Bearer {(await auth.tokens_of(f'{name}@example.com'))['access_token']}"}
        for name in ("ann", "ben")
    ]
    first = (await auth.http.get("/v1/users", params={"limit": 1}, headers=owner)).json()
    rest = (await auth.http.get("/v1/users", params={"cursor": first["next_cursor"]}, headers=owner)).json()
    assert [user["email"] for user in first["items"] + rest["items"]] == ["ann@example.com", "ben@example.com"]
    ben = rest["items"][0]["id"]

    changed = await auth.http.patch(f"/v1/users/{ben}", json={"role": "viewer", "active": False}, headers=owner)
    assert (changed.json()["role"], changed.json()["is_active"]) == ("viewer", False)
    for wanted, count in (({"role": "viewer"}, 1), ({"active": "true"}, 1), ({"email": "Ben@example.com"}, 1)):
        found = (await auth.http.get("/v1/users", params=wanted, headers=owner)).json()["items"]
        assert len(found) == count, wanted
    for wrong in ({}, {"role": "boss"}, {"active": 1}):
        assert (await auth.http.patch(f"/v1/users/{ben}", json=wrong, headers=owner)).status_code == 422, wrong
    last = await auth.http.patch(f"/v1/users/{first['items'][0]['id']}", json={"active": False}, headers=owner)
    assert (last.status_code, last.json()["code"]) == (409, "last_owner")
    assert (await auth.http.delete(f"/v1/users/{ben}", params={"hand_over_to": ben}, headers=owner)).status_code == 422
    assert (await auth.http.get("/v1/users", headers=member)).json()["code"] == "not_allowed"
    assert (await auth.http.delete(f"/v1/users/{ben}", headers=owner)).status_code == 204
    assert (await auth.http.delete(f"/v1/users/{ben}", headers=owner)).json()["code"] == "user_not_found"
